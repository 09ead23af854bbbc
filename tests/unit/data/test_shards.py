import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import webdataset as wds
from data_support import encoded, image, write_shards

from mplframe.data.damaged import Damaged, tolerant
from mplframe.data.manifests import ChosenSplit
from mplframe.data.shards.index import index_shard
from mplframe.data.shards.index_files import write_index
from mplframe.data.shards.members import class_names, parse_label
from mplframe.data.shards.source import WebDataset
from mplframe.data.shards.split import Memory
from mplframe.errors import DamageError, DataError, UserError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLFRAME_CACHE", str(tmp_path / "cache"))


def dataset(**config: Any) -> WebDataset:
    return WebDataset(WebDataset.Config(**{"classes": 10, **config}))


def one_shard(folder: Path, *samples: dict[str, Any]) -> str:
    path = str(folder / "one.tar")
    with wds.TarWriter(path) as writer:
        for i, sample in enumerate(samples):
            writer.write({"__key__": f"k{i}", **sample})
    return path


PIXELS = encoded(image(0))


def test_samples_come_in_any_order_from_webdatasets_own_shards(tmp_path: Path) -> None:
    with wds.ShardWriter(str(tmp_path / "train-%03d.tar"), maxcount=7, verbose=0) as writer:
        for i in range(25):
            writer.write({"__key__": f"{i:03d}", "png": image(i), "cls": i % 10})
    split = dataset(labeled=f"{tmp_path}/train-{{000..003}}.tar").split("labeled")
    assert split is not None
    assert list(split.group_sizes) == [7, 7, 7, 4]
    assert len(split) == 25
    numbers = [24, 0, 7, 6, 0, 13]
    for number, sample in zip(numbers, split.read(numbers), strict=True):
        assert (sample.key, sample.label) == (f"{number:03d}", number % 10)
        np.testing.assert_array_equal(sample.image, image(number))
    assert split.read([]) == []


def test_labels_are_read_without_images(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = [{"cls": "3"}, {"json": {"label": 7}}, {"cls": "x"}, {"json": {"label": "2"}}]
    url = one_shard(tmp_path, *({"png": b"no image", **label} for label in said))
    split = dataset(labeled=url).split("labeled")
    assert split is not None
    assert split.labels([3, 0, 1]) == [2, 3, 7]
    with pytest.raises(DamageError, match=r"sample 'k2' in .*one\.tar: its \.cls holds b'x'"):
        split.labels([0, 2])
    damaged = Damaged(1)
    going_on = tolerant(split, "labeled", damaged)
    assert going_on.labels([0, 1, 2, 3]) == [3, 7, -1, 2]
    assert damaged.counts == {"labeled": 1}
    assert ChosenSplit(going_on, np.array([1, 3])).labels([1, 0]) == [2, 7]


@pytest.mark.parametrize("memory_mb", [0, 1])
def test_threads_read_the_same(tmp_path: Path, memory_mb: int) -> None:
    split = dataset(labeled=write_shards(tmp_path, [20, 20, 20]), memory_mb=memory_mb).split("labeled")
    assert split is not None
    requests = [np.random.default_rng(i).integers(0, 60, 30).tolist() for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        for numbers, samples in zip(requests, pool.map(split.read, requests), strict=True):
            assert [int(sample.key) for sample in samples] == numbers
            assert all(np.array_equal(sample.image, image(n)) for sample, n in zip(samples, numbers, strict=True))


def test_memory_is_bounded(tmp_path: Path) -> None:
    split = dataset(labeled=write_shards(tmp_path, [20])).split("labeled")
    assert split is not None
    samples = split.read(range(20))
    memory = Memory(5 * (192 + 512) + 100)
    for i, sample in enumerate(samples * 2):
        memory.offer(i % 20, None, sample)
    assert [memory.get(i, None) is not None for i in range(20)] == [True] * 5 + [False] * 15
    assert memory.get(0, 8) is None


def test_kept_samples_are_not_read_again(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, [20])
    split = dataset(labeled=shards).split("labeled")
    assert split is not None
    before = split.read(range(20))
    Path(shards[0]).unlink()
    assert [s.image.tolist() for s in split.read(range(20))] == [s.image.tolist() for s in before]


def test_a_shard_that_changes_in_use_is_noticed(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, [5])
    split = dataset(labeled=shards, memory_mb=0).split("labeled")
    assert split is not None
    os.utime(shards[0], (1, 1))
    with pytest.raises(DataError, match=r"part-000.tar was changed while it was in use"):
        split.read([0])
    Path(shards[0]).unlink()
    with pytest.raises(DataError, match=r"can't be read any more: No such file"):
        split.read([0])


@pytest.fixture
def memory_store(tmp_path: Path) -> Iterator[str]:
    fs = fsspec.filesystem("memory")
    for path in write_shards(tmp_path / "source", [4, 5]):
        fs.pipe(f"/bucket/{Path(path).name}", Path(path).read_bytes())
    fs.pipe("/bucket/classes.txt", "\n".join("abcdefghij").encode())
    yield "memory://bucket"
    fs.rm("/bucket", recursive=True)


def test_a_remote_dataset_behaves_like_a_local_one(tmp_path: Path, memory_store: str) -> None:
    remote = dataset(
        labeled=f"{memory_store}/*.tar", classes=f"{memory_store}/classes.txt", cache=str(tmp_path / "own")
    )
    local = dataset(labeled=f"{tmp_path}/source/*.tar")
    ours, theirs = remote.split("labeled"), local.split("labeled")
    assert ours is not None
    assert theirs is not None
    assert [s.image.tolist() for s in ours.read(range(9))] == [s.image.tolist() for s in theirs.read(range(9))]
    assert remote.classes == tuple("abcdefghij")
    assert len(list((tmp_path / "own" / "shards").glob("*.tar"))) == 2
    for settings in ({"cache_mb": 0}, {"reader": "sequential"}, {"reader": "indexed"}):
        cache = tmp_path / "-".join(map(str, settings.values()))
        other = dataset(labeled=f"{memory_store}/*.tar", cache=str(cache), memory_mb=0, **settings).split("labeled")
        for numbers in (range(9), [7, 0, 4, 4]):
            found, wanted = other.read(numbers), theirs.read(numbers)
            assert [(s.key, s.label, s.image.tolist()) for s in found] == [
                (s.key, s.label, s.image.tolist()) for s in wanted
            ]
        assert (cache / "shards").exists() == ("cache_mb" not in settings)


def test_opening_remote_shards_with_indexes_beside_them_fetches_none(tmp_path: Path, memory_store: str) -> None:
    fs = fsspec.filesystem("memory")
    for path in sorted((tmp_path / "source").glob("*.tar")):
        fs.pipe(f"/bucket/{path.name}.idx", write_index(path).read_bytes())
    split = dataset(labeled=f"{memory_store}/*.tar", cache=str(tmp_path / "own")).split("labeled")
    assert split.group_sizes == (4, 5)
    assert not (tmp_path / "own" / "shards").exists()
    split.read([5])
    assert len(list((tmp_path / "own" / "shards").glob("*.tar"))) == 1


def test_keys_are_known_without_reading(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, [3, 4])
    split = dataset(labeled=shards).split("labeled")
    for shard in shards:
        Path(shard).unlink()
    assert [split.key(i) for i in range(7)] == [f"{i:05d}" for i in range(7)]


def test_scaled_samples_are_kept_apart(tmp_path: Path) -> None:
    pixels = np.kron(image(1, (16, 16)), np.ones((16, 16, 1), np.uint8))  # smooth enough for JPEG
    path = one_shard(tmp_path, {"jpg": encoded(pixels, "JPEG", quality=95), "cls": 1})
    split = dataset(test=path).split("test")
    small = split.scaled(64)
    for _ in range(2):
        assert split.read([0])[0].image.shape == (256, 256, 3)
        assert 64 <= small.read([0])[0].image.shape[0] < 256
    assert small.key(0) == split.key(0)
    assert len(small) == 1


def test_damage_is_left_out_and_told(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, [5, 6, 4])
    whole = Path(shards[1]).read_bytes()
    index = index_shard(Path(shards[1]))
    Path(shards[1]).write_bytes(whole[: max(at for at, _ in index.members(3).values())])
    split = dataset(labeled=shards).split("labeled")
    assert split.group_sizes == (5, 3, 4)
    assert [sample.key for sample in split.read(range(12))] == [f"{i:05d}" for i in (*range(8), *range(11, 15))]
    assert split.group_names == shards
    assert [(one.key, one.where) for one in split.damage] == [("00008", shards[1]), ("", shards[1])]
    assert split.damage[0].reason.startswith(f"sample '00008' in {shards[1]}: the last sample before the damage")
    assert split.damage[1].reason.startswith(f"{shards[1]}: cut short")
    again = dataset(labeled=shards).split("labeled")
    assert (again.damage, again.group_sizes) == (split.damage, split.group_sizes)
    found = dataset(labeled=shards).fingerprint()["labeled"]
    assert (found["samples"], found["bytes"]) == (12, sum(Path(shard).stat().st_size for shard in shards))


def test_a_split_with_nothing_usable_is_refused(tmp_path: Path) -> None:
    wds.TarWriter(str(tmp_path / "empty.tar")).close()
    with pytest.raises(DataError, match=r"empty.tar: no samples in it; .* nothing else in the labeled split"):
        dataset(labeled=str(tmp_path / "empty.tar")).split("labeled")


def test_samples_without_image_or_label_are_left_out(tmp_path: Path) -> None:
    path = one_shard(tmp_path, {"png": PIXELS, "cls": 1}, {"png": PIXELS}, {"cls": 1}, {"png": PIXELS, "cls": 2})
    split = dataset(labeled=path, unlabeled=path).split("labeled")
    assert [(sample.key, sample.label) for sample in split.read(range(2))] == [("k0", 1), ("k3", 2)]
    assert sorted(one.key for one in split.damage) == ["k1", "k2"]
    unlabeled = dataset(unlabeled=path).split("unlabeled")
    assert [split.key for split in unlabeled.read(range(3))] == ["k0", "k1", "k3"]
    assert [one.key for one in unlabeled.damage] == ["k2"]


def test_img2datasets_layout(tmp_path: Path) -> None:
    facts = {"url": "http://host/x", "caption": "a dog", "status": "success", "width": 8, "sha256": "ab"}
    samples = [
        {"png": PIXELS, "txt": b"a dog", "json": {**facts, "key": str(i), "meta": {"class": f"c{i}"}}} for i in range(2)
    ]
    path = one_shard(tmp_path, *samples)
    unlabeled = dataset(unlabeled=path).split("unlabeled")
    assert [sample.label for sample in unlabeled.read(range(2))] == [-1, -1]
    with pytest.raises(DataError, match=r"it has no label; .*data.label_key"):
        dataset(labeled=path).split("labeled").read([0])
    named = dataset(labeled=path, classes=["c0", "c1"], label_key="meta.class").split("labeled")
    assert [sample.label for sample in named.read(range(2))] == [0, 1]


@pytest.mark.parametrize(
    ("content", "key", "label"),
    [
        ({"label": 3}, "label", 3),
        ({"a": {"b": {"c": "x"}}}, "a.b.c", "x"),
        ({"a.b": 1, "a": {"b": 2}}, "a.b", 1),
        ({"a": {"b": 2}}, "a.c", None),
        ({"a": 2}, "a.c", None),
        ({"label": 3}, "class", None),
    ],
)
def test_the_key_of_a_label(content: object, key: str, label: object) -> None:
    assert parse_label("json", json.dumps(content).encode(), "x", key) == label


def test_labels_from_json_and_names(tmp_path: Path) -> None:
    path = one_shard(
        tmp_path,
        {"png": PIXELS, "json": {"label": 1, "source": "x"}},
        {"png": PIXELS, "json": {"label": "dog"}},
        {"png": PIXELS, "cls": b" 0\n"},
    )
    split = dataset(test=path, classes=["cat", "dog"]).split("test")
    assert split is not None
    assert [sample.label for sample in split.read(range(3))] == [1, 1, 0]


def test_unlabeled_samples_keep_what_is_known(tmp_path: Path) -> None:
    path = one_shard(
        tmp_path, {"png": PIXELS}, {"png": PIXELS, "cls": 7}, {"png": PIXELS, "json": {}}, {"png": PIXELS, "cls": -1}
    )
    split = dataset(unlabeled=path).split("unlabeled")
    assert split is not None
    assert [sample.label for sample in split.read(range(4))] == [-1, 7, -1, -1]
    assert dataset().split("unlabeled") is None


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"png": PIXELS}, r"lacks a label: it has .png, allowed are .cls, .json"),
        ({"cls": 1}, r"lacks an image or a video: it has .cls, allowed are .jpg"),
        ({"v1.png": PIXELS, "cls": 1}, r"lacks an image or a video: it has .cls, .v1.png.*first dot"),
        ({"png": PIXELS, "json": {"label": 1.5}}, "no usable label .1.5.; write .*data.label_key"),
        ({"png": PIXELS, "json": {"other": 1}}, "it has no label"),
        ({"png": PIXELS, "json": [1]}, "no usable label"),
        ({"png": PIXELS, "json": {"label": True}}, "no usable label"),
        ({"png": PIXELS, "json": b"{"}, "isn't valid JSON"),
        ({"png": PIXELS, "json": {"label": "bird"}}, "'bird' is none of the 10 classes"),
        ({"png": PIXELS, "cls": b"3.0"}, r"its .cls holds b'3.0'; write the class index"),
        ({"png": PIXELS, "cls": 10}, r"label 10 is out of range; with 10 classes .* 0 to 9"),
        ({"png": PIXELS, "cls": -1}, "label -1 is out of range"),
        ({"png": b"broken", "cls": 1}, "the image can't be decoded"),
    ],
)
def test_bad_samples_are_named(tmp_path: Path, sample: dict[str, Any], message: str) -> None:
    path = one_shard(tmp_path, sample)
    with pytest.raises(DataError, match=f"sample 'k0' in {path}.*{message}"):
        dataset(labeled=path).split("labeled").read([0])  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["labeled", "test"])
def test_a_missing_url_says_what_to_set(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"data.{name} isn't set; .*mplframe data pack --help") as unset:
        dataset().split(name)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"gone-000.tar doesn't exist; .*mplframe data pack --help") as gone:
        dataset(**{name: f"{tmp_path}/gone-{{000..003}}.tar"}).split(name)  # type: ignore[arg-type]
    assert "\n" not in f"{unset.value}{gone.value}"


def test_class_names(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("cat\n\ndog \r\n", encoding="utf-8-sig")
    (tmp_path / "list").write_text('["cat", "dog"]')
    assert class_names(str(tmp_path / "lines")) == class_names(str(tmp_path / "list")) == ("cat", "dog")
    assert class_names(3) == ("0", "1", "2")
    (tmp_path / "bad").write_text("[1, 2")
    for classes, message in (
        (1, "at least two"),
        ([], "at least two"),
        (["a", "b", "a"], "names a more than once"),
        (str(tmp_path / "none"), "none doesn't exist"),
        (str(tmp_path / "bad"), "isn't valid JSON"),
    ):
        with pytest.raises(UserError, match=message):
            class_names(classes)  # type: ignore[arg-type]


def test_the_fingerprint_identifies_the_data(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, [3, 4])
    found = dataset(labeled=shards, test=shards[:1]).fingerprint()
    assert json.loads(json.dumps(found)) == found
    assert found["labeled"]["samples"] == 7
    assert found["test"]["shards"] == 1
    assert "unlabeled" not in found
    changed = dataset(labeled=write_shards(tmp_path, [4, 3])).fingerprint()
    assert changed["labeled"]["digest"] != found["labeled"]["digest"]
