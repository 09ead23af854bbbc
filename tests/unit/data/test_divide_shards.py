"""Packed data sets and shards made by others, divided anew."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset as wds
from data_support import encoded, image, write_shards
from fsspec.implementations.memory import MemoryFileSystem

from mplframe.api.datasets import data_split
from mplframe.data.packing.pack import PackOptions, ShardLimits, pack_splits
from mplframe.data.readers.arrays import ArrayReader
from mplframe.data.readers.shards import ShardReader, open_packed
from mplframe.data.shards.index import index_shard
from mplframe.data.shards.source import WebDataset
from mplframe.errors import DataError, UserError

NAMES = ["ant", "bee", "cow"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLFRAME_CACHE", str(tmp_path / "cache"))


def reader(count: int, seed: int = 0) -> ArrayReader:
    images = np.random.default_rng(seed).integers(0, 256, (count, 5, 4, 3), dtype=np.uint8)
    return ArrayReader(images, np.arange(count) % 3, classes=NAMES, where="memory")


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    options = PackOptions(limits=ShardLimits(max_count=10))
    parts = {"labeled": reader(30), "unlabeled": reader(12, 1), "test": reader(6, 2)}
    pack_splits(tmp_path / "packed", **parts, options=options, source={"format": "numpy"})
    return tmp_path / "packed"


def pixels(out: Path, *splits: str) -> list[bytes]:
    found = []
    for name in splits:
        config = WebDataset.Config(**{name: str(out / f"{name}-*.tar")}, classes=str(out / "classes.txt"))
        split = WebDataset(config).split(name)
        found += [sample.image.tobytes() for sample in split.read(range(len(split)))]
    return found


class TestPacked:
    def test_labeled_ones_are_divided_and_nothing_is_lost(self, packed: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        report = data_split(str(packed), out, labels=9, shard_size=7)
        assert report["classes"] == NAMES
        assert report["samples"] == {"labeled": 9, "unlabeled": 33, "test": 6}
        said = json.loads((out / "dataset.json").read_text())
        assert said["splits"]["labeled"]["labels"] == [3, 3, 3]
        assert said["source"] == {
            "source": str(packed), "format": "numpy", "split": None, "labeled": 9, "test": None, "choice": "stratified",
        }  # fmt: skip
        assert set(pixels(out, "labeled")) < set(pixels(packed, "labeled"))
        everything = ("labeled", "unlabeled", "test")
        assert sorted(pixels(out, *everything)) == sorted(pixels(packed, *everything))
        assert all(len(index_shard(path)) <= 7 for path in out.glob("*.tar"))

    def test_in_order_means_the_order_before_packing(self, packed: Path, tmp_path: Path) -> None:
        source = open_packed(str(packed))
        assert source.train.labels.tolist() == reader(30).labels.tolist()
        for number in (0, 17):
            assert source.train.read(number).key.endswith(f"-{number}")
        data_split(str(packed), tmp_path / "out", labels=5, choose="in-order")
        keys = {index_shard(tmp_path / "out/labeled-00000.tar").key(i).rpartition("-")[2] for i in range(5)}
        assert keys == {"0", "1", "2", "3", "4"}

    def test_the_paper_splits_need_the_data_set(self, packed: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="the split cifar10-4k is of cifar10, the source is numpy"):
            data_split(str(packed), tmp_path / "out", split="cifar10-4k")

    def test_from_and_to_a_store(self, packed: Path, tmp_path: Path) -> None:
        fs: MemoryFileSystem = fsspec.filesystem("memory")
        for path in packed.iterdir():
            fs.pipe(f"/bucket/packed/{path.name}", path.read_bytes())
        try:
            data_split("memory://bucket/packed", "memory://bucket/out", labels=0.5)
            data_split(str(packed), tmp_path / "out", labels=0.5)
            for path in (tmp_path / "out").glob("*.tar"):
                assert fs.cat_file(f"/bucket/out/{path.name}") == path.read_bytes()
        finally:
            for path in fs.find("/"):
                fs.rm(path)

    def test_a_manifest(self, packed: Path, tmp_path: Path) -> None:
        data_split(str(packed), tmp_path / "list", labels=9, manifest=True)
        data_split(str(packed), tmp_path / "out", labels=9)
        table = pq.read_table(tmp_path / "list/labeled.parquet").to_pydict()
        assert table.keys() == {"key", "shard", "label"}
        listed = {
            index_shard(Path(shard)).key(i): shard
            for shard in set(table["shard"])
            for i in range(len(index_shard(Path(shard))))
        }
        assert all(listed[key] == shard for key, shard in zip(table["key"], table["shard"], strict=True))
        assert sorted(table["label"]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        # The same samples as in shards: their keys end alike.
        chosen = index_shard(tmp_path / "out/labeled-00000.tar")
        ends = {chosen.key(i)[9:] for i in range(len(chosen))}
        assert ends == set(table["key"])
        unlabeled = pq.read_table(tmp_path / "list/unlabeled.parquet").to_pydict()
        assert len(unlabeled["key"]) == 33
        assert json.loads((tmp_path / "list/dataset.json").read_text())["samples"] == {
            "labeled": 9, "unlabeled": 33, "test": 6,
        }  # fmt: skip
        with pytest.raises(UserError, match="--overwrite"):
            data_split(str(packed), tmp_path / "list", labels=9, manifest=True)


class TestShardsByURL:
    def test_made_by_webdataset(self, tmp_path: Path) -> None:
        write_shards(tmp_path / "theirs", [25, 15])
        url = str(tmp_path / "theirs/part-{000..001}.tar")
        report = data_split(url, tmp_path / "out", test=0.25, labels=10)
        assert report["samples"] == {"labeled": 10, "unlabeled": 20, "test": 10}
        assert report["classes"] == [str(i) for i in range(10)]
        kept = set(pixels(tmp_path / "out", "labeled", "unlabeled", "test"))
        assert kept == {image(i).tobytes() for i in range(40)}

    def theirs(self, folder: Path) -> str:
        """As img2dataset writes: captions and facts beside each image; labels by name."""
        folder.mkdir()
        with wds.TarWriter(str(folder / "0.tar")) as writer:
            for number in range(12):
                label = None if number == 11 else ["dog", "cat"][number % 2]
                said = {"caption": f"number {number}", **({"label": label} if label else {})}
                sample = {"__key__": f"{number:09d}", "jpg": encoded(image(number, (16, 16)), "JPEG"), "json": said}
                writer.write({**sample, "txt": f"number {number}"})
        return str(folder / "*.tar")

    def test_other_members_are_kept_and_the_label_is_not_given_away(self, tmp_path: Path) -> None:
        report = data_split(self.theirs(tmp_path / "theirs"), tmp_path / "out", labels=4)
        assert report["classes"] == ["cat", "dog"]
        assert report["samples"] == {"labeled": 4, "unlabeled": 8}
        for shard, extensions in (("labeled", {"jpg", "json", "txt", "cls"}), ("unlabeled", {"jpg", "json", "txt"})):
            with (tmp_path / f"out/{shard}-00000.tar").open("rb") as stream:
                files = wds.tariterators.tar_file_expander([{"url": "x", "stream": stream}])
                samples = list(wds.tariterators.group_by_keys(files))
            for sample in samples:
                number = int(sample["__key__"].rpartition("-")[2])
                assert {name for name in sample if not name.startswith("__")} == extensions
                assert json.loads(sample["json"]) == {"caption": f"number {number}"}
                assert sample["txt"] == f"number {number}".encode()
                assert sample["jpg"] == encoded(image(number, (16, 16)), "JPEG")
                if "cls" in sample:
                    assert int(sample["cls"]) == [1, 0][number % 2]

    def test_class_names_from_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "names.txt").write_text("dog\ncat\n")
        url = self.theirs(tmp_path / "theirs")
        report = data_split(url, tmp_path / "out", labels=4, classes=str(tmp_path / "names.txt"))
        assert report["classes"] == ["dog", "cat"]
        (tmp_path / "names.txt").write_text("dog\ncow\n")
        with pytest.raises(DataError, match=r"sample '000000001' in .*0\.tar: unknown class 'cat'"):
            data_split(url, tmp_path / "out2", labels=4, classes=str(tmp_path / "names.txt"))

    def test_a_label_that_is_a_number_means_the_class_of_that_number(self, tmp_path: Path) -> None:
        urls = write_shards(tmp_path / "theirs", [4])
        assert ShardReader(urls, ["a", "b", "c", "d"]).labels.tolist() == [0, 1, 2, 3]
        with pytest.raises(DataError, match="unknown class '3'"):
            ShardReader(urls, ["a", "b", "c"])

    def test_damaged_shards(self, tmp_path: Path) -> None:
        urls = write_shards(tmp_path / "theirs", [10, 10])
        content = Path(urls[1]).read_bytes()
        Path(urls[1]).write_bytes(content[: len(content) // 2])
        with pytest.raises(DataError, match=r"part-001\.tar.*--skip-damaged"):
            data_split(str(tmp_path / "theirs/*.tar"), tmp_path / "out", labels=10)
        report = data_split(str(tmp_path / "theirs/*.tar"), tmp_path / "out", labels=10, skip_damaged=True)
        assert 10 < sum(report["samples"].values()) < 20
        assert any("the rest of the shard left out" in note for note in report["notes"])

    def test_a_sample_without_an_image(self, tmp_path: Path) -> None:
        with wds.TarWriter(str(tmp_path / "x.tar")) as writer:
            writer.write({"__key__": "a", "png": encoded(image(0)), "cls": b"0"})
            writer.write({"__key__": "b", "txt": b"no image", "cls": b"1"})
        with pytest.raises(DataError, match=r"sample 'b' in .*x\.tar: it has no image but txt, cls|cls, txt"):
            ShardReader(str(tmp_path / "x.tar")).read(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "say how to divide"),
        ({"labels": "many"}, "--labels takes a number of samples or a fraction below 1, not 'many'"),
        ({"test": "photos"}, "--test takes a number"),
        ({"labels": 3, "split": "svhn-1k"}, "leave `labels` and `test` unset"),
        ({"labels": 31}, "can't choose"),
        ({"labels": 31, "choose": "in-order"}, "can't choose 31 of 30 labeled"),
        ({"test": 3}, "has 6 test images of its own"),
        ({"labels": 3, "classes": "3"}, "has its own class names"),
        ({"labels": 3, "workers": -1}, "--workers must be 0 or more"),
        ({"labels": 3, "shard_mb": 0}, "at least one sample and one byte"),
    ],
)
def test_what_cannot_be_divided(packed: Path, tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        data_split(str(packed), tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_neither_shards_nor_packed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither shards .* nor a folder made by `mplframe data pack`"):
        open_packed(str(tmp_path))
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset\.json: damaged"):
        open_packed(str(tmp_path))
    pack_splits(tmp_path / "bare", unlabeled=reader(3))
    with pytest.raises(DataError, match="no labeled samples to divide"):
        open_packed(str(tmp_path / "bare"))
