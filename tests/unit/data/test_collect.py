"""The samples of a manifest: where they lie, and in shards of their own, are the same."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset as wds
from data_support import encoded, image
from fsspec.implementations.memory import MemoryFileSystem

from mplframe.contracts.data import Sample
from mplframe.data.inspecting.inspection import verify_shards
from mplframe.data.manifests import AssignedSplit, assigned_split, read_assignment
from mplframe.data.packing.pack import PackOptions, ShardLimits, pack_manifest
from mplframe.data.shards.source import WebDataset
from mplframe.errors import DamageError, DataError

CLASSES = 4
FOUR = PackOptions(limits=ShardLimits(max_count=4))
ROWS = [  # shard, index, label, repeat: a sample for two classes, one five times, and a shard of which none was chosen
    (0, 0, 1, 1),
    (0, 2, 0, 5),
    (0, 2, 3, 1),
    (2, 1, 2, 2),
    (2, 5, 1, 1),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLFRAME_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def shards(tmp_path: Path) -> list[str]:
    """Three shards with captions, some labels, and one sample without an image, which has no number."""
    paths = []
    for shard in range(3):
        paths.append(str(tmp_path / f"raw-{shard}.tar"))
        with wds.TarWriter(paths[-1]) as writer:
            for number in range(7):
                key, said = f"{shard}/{number}", {"caption": f"{number}"}
                if number != 3:
                    said["label"] = number % CLASSES
                jpeg = {"jpg": encoded(image(10 * shard + number), "JPEG")} if number != 1 else {}
                writer.write({"__key__": key, **jpeg, "json": said, "txt": f"text {key}"})
    return paths


def manifest(path: Path, shards: list[str], *, soft: bool = False, rows: list[tuple[int, ...]] = ROWS) -> str:
    """As `mplframe select` writes it."""
    owner, index, label, repeat = zip(*rows, strict=True)
    number = [n if n < 1 else n + 1 for n in index]  # the second sample of each shard has no image
    columns = {
        "key": [f"{s}/{n}" for s, n in zip(owner, number, strict=True)],
        "shard": pa.array([shards[s] for s in owner]).dictionary_encode(),
        "index": pa.array(index, pa.int64()),
        "label": pa.array(label, pa.int32()),
        "probability": pa.array([None, 0.1, 0.9, 0.5, 0.25], pa.float32())[: len(rows)],
        "rank": pa.array(range(len(rows)), pa.int64()),
        "repeat": pa.array(repeat, pa.int64()),
        "truth": pa.array([None if n == 3 else n % CLASSES for n in number], pa.int32()),
    }
    if soft:
        odds = np.random.default_rng(0).dirichlet(np.ones(CLASSES), len(rows)).astype(np.float16)
        columns["distribution"] = pa.FixedSizeListArray.from_arrays(pa.array(odds.ravel(), pa.float16()), CLASSES)
    said = {"mplframe.manifest": json.dumps({"scores": {"classes": CLASSES}})}
    pq.write_table(pa.table(columns, metadata=said), path)
    return str(path)


def opened(urls: str | list[str], name: str = "unlabeled") -> list[Sample]:
    source = WebDataset(WebDataset.Config.model_validate({name: urls, "classes": CLASSES}))
    found = source.split(name)  # type: ignore[arg-type]
    assert found is not None
    return found.read(range(len(found)))


def in_place(path: str, shards: list[str], classes: int = CLASSES) -> AssignedSplit:
    source = WebDataset(WebDataset.Config(unlabeled=shards, classes=CLASSES))
    found = source.split("unlabeled")
    assert found is not None
    return assigned_split(found, read_assignment(path), classes)


def counted(samples: list[Sample]) -> Counter[tuple[object, ...]]:
    """How often each image is there, with its true class and what it is taken for."""
    return Counter(
        (sample.image.tobytes(), sample.label, None if sample.target is None else tuple(sample.target.tolist()))
        for sample in samples
    )


@pytest.mark.parametrize("soft", [False, True])
def test_collected_or_where_they_lie_samples_are_the_same(tmp_path: Path, shards: list[str], soft: bool) -> None:
    path = manifest(tmp_path / "best.parquet", shards, soft=soft)
    split = in_place(path, shards)
    there = split.read(range(len(split)))
    report = pack_manifest(tmp_path / "out", manifest=path, options=FOUR)
    assert [shard.samples for shard in report.splits["unlabeled"].shards] == [4, 4, 2]
    collected = opened(str(tmp_path / "out/unlabeled-*.tar"))
    assert counted(collected) == counted(there)
    assert sorted(counted(there).values()) == [1, 1, 1, 2, 5]
    if not soft:
        assert Counter(int(s.target.argmax()) for s in there if s.target is not None) == {0: 5, 1: 2, 2: 2, 3: 1}
    assert not verify_shards(WebDataset.Config(unlabeled=str(tmp_path / "out/*.tar"), classes=CLASSES))
    # As labeled images they teach the class alone.
    labeled = opened(str(tmp_path / "out/unlabeled-*.tar"), "labeled")
    assert Counter(sample.label for sample in labeled) == {0: 5, 1: 2, 2: 2, 3: 1}
    assert all(sample.target is None for sample in labeled)


def test_files_are_copied_as_they_are_without_the_label(tmp_path: Path, shards: list[str]) -> None:
    path = manifest(tmp_path / "best.parquet", shards, soft=True)
    pack_manifest(tmp_path / "out", manifest=path)
    with (tmp_path / "out/unlabeled-00000.tar").open("rb") as stream:
        files = wds.tariterators.tar_file_expander([{"url": "x", "stream": stream}])
        samples = list(wds.tariterators.group_by_keys(files))
    assert len({sample["__key__"] for sample in samples}) == 10
    rows = pq.read_table(path).to_pylist()
    for sample in samples:
        assigned = json.loads(sample["assigned.json"])
        [row] = [row for row in rows if (row["key"], row["label"]) == (assigned["key"], assigned["class"])]
        assert {name: assigned[name] for name in ("shard", "index", "rank", "truth")} == {
            name: row[name] for name in ("shard", "index", "rank", "truth")
        }
        assert assigned["probability"] == (None if row["probability"] is None else np.float32(row["probability"]))
        assert np.array(assigned["probabilities"], np.float16).tolist() == row["distribution"]
        shard, number = map(int, row["key"].split("/"))
        assert sample["jpg"] == encoded(image(10 * shard + number), "JPEG")
        assert sample["txt"] == f"text {row['key']}".encode()
        assert json.loads(sample["json"]) == {"caption": str(number)}
        assert int(sample["cls"]) == row["label"]


def test_manifest_shards_and_result_may_lie_in_a_store(
    tmp_path: Path, shards: list[str], memory: MemoryFileSystem
) -> None:
    remote = [f"memory://raw/{Path(shard).name}" for shard in shards]
    for shard, url in zip(shards, remote, strict=True):
        memory.pipe(url, Path(shard).read_bytes())
    memory.pipe("memory://best.parquet", Path(manifest(tmp_path / "best.parquet", remote)).read_bytes())
    pack_manifest("memory://out", manifest="memory://best.parquet", options=FOUR)
    local = manifest(tmp_path / "local.parquet", shards)
    assert counted(opened("memory://out/unlabeled-*.tar")) == counted(in_place(local, shards).read(range(10)))


def test_shards_that_have_changed_since_are_noticed(tmp_path: Path, shards: list[str]) -> None:
    path = manifest(tmp_path / "best.parquet", shards)
    with wds.TarWriter(shards[2]) as writer:
        for number in reversed(range(7)):
            writer.write({"__key__": f"2/{number}", "jpg": encoded(image(number), "JPEG")})
    split = in_place(path, shards)
    with pytest.raises(DataError, match="'2/5' lies where '2/2' was when it was chosen"):
        split.read(range(len(split)))
    with pytest.raises(DataError, match=r"raw-2\.tar: sample '2/\d' lies where '2/\d' was"):
        pack_manifest(tmp_path / "out", manifest=path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, 6, 0, 1)], "names samples that"),
        ([(0, 0, 0, 0)], "repeat is 0 in a row"),
        ([(0, 0, 4, 1)], "assigns the classes 4 to 4, but there are 4"),
        ([(3, 0, 0, 1)], r"none\.tar"),
    ],
)
def test_a_manifest_that_does_not_fit(
    tmp_path: Path, shards: list[str], rows: list[tuple[int, ...]], message: str
) -> None:
    path = manifest(tmp_path / "best.parquet", [*shards, str(tmp_path / "none.tar")], rows=rows)
    with pytest.raises(DataError, match=message):
        in_place(path, shards)
    with pytest.raises(DataError, match=message):
        pack_manifest(tmp_path / "out", manifest=path)


def test_what_is_no_manifest(tmp_path: Path, shards: list[str]) -> None:
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "list.parquet")
    (tmp_path / "text.parquet").write_text("key")
    pq.write_table(pq.read_table(manifest(tmp_path / "m.parquet", shards)).slice(0, 0), tmp_path / "empty.parquet")
    for name, message in (
        ("list.parquet", "has no column 'shard'; make one: mplframe select"),
        ("text.parquet", "is no manifest"),
        ("none.parquet", "doesn't exist"),
        ("empty.parquet", "names no sample"),
    ):
        with pytest.raises(DataError, match=message):
            read_assignment(str(tmp_path / name))
    soft = manifest(tmp_path / "soft.parquet", shards, soft=True)
    with pytest.raises(DataError, match="probabilities of 4 classes, but there are 5"):
        in_place(soft, shards, classes=5)
    with pytest.raises(DataError, match="is about 4 classes, but 3 are named"):
        pack_manifest(tmp_path / "out", manifest=soft, classes=3)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"{", "can't be used"),
        (b'{"class": 4, "truth": null}', "can't be used"),
        (b'{"class": 0, "truth": 7}', r"names class 0 \(truth 7\) of 4"),
        (b'{"class": 0, "truth": null, "probabilities": [1.0]}', "has 1 probabilities"),
    ],
)
def test_what_was_assigned_is_checked(tmp_path: Path, said: bytes, message: str) -> None:
    with wds.TarWriter(str(tmp_path / "x.tar")) as writer:
        writer.write({"__key__": "a", "png": encoded(image(0)), "assigned.json": said})
    with pytest.raises(DamageError, match=message):
        opened(str(tmp_path / "x.tar"))
