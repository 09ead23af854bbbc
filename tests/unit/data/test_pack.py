from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from webdataset.tariterators import group_by_keys, tar_file_expander

from mplframe.data.packing.pack import PackOptions, ShardLimits, pack_folders, pack_source, pack_splits
from mplframe.data.packing.partition import divide, paper_split
from mplframe.data.packing.writer import sample_key
from mplframe.data.readers.arrays import ArrayReader
from mplframe.data.readers.detect import Source
from mplframe.data.shards.index import index_shard
from mplframe.data.shards.source import WebDataset
from mplframe.errors import DataError, UserError

NAMES = ["ant", "bee", "cow"]


def reader(count: int, seed: int = 0, channels: int = 3, labeled: bool = True) -> ArrayReader:
    images = np.random.default_rng(seed).integers(0, 256, (count, 5, 4, channels), dtype=np.uint8)
    labels = np.arange(count) % 3 if labeled else None
    return ArrayReader(images, labels, classes=NAMES if labeled else (), where="memory")


def image_files(root: Path, counts: dict[str, int], seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(root / folder / f"{i}.jpg")


def opened(out: Path) -> WebDataset:
    globs = {name: str(out / f"{name}-*.tar") for name in ("labeled", "unlabeled", "test") if [*out.glob(f"{name}-*")]}
    return WebDataset(WebDataset.Config(**globs, classes=str(out / "classes.txt"), cache=str(out.parent / "cache")))


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


class TestSplits:
    def test_what_is_packed_is_what_training_reads(self, tmp_path: Path) -> None:
        train, test = reader(20), reader(7, seed=1, channels=1)
        report = pack_splits(tmp_path / "out", labeled=train, unlabeled=reader(9, 2), test=test)
        data = opened(tmp_path / "out")
        assert list(data.classes) == NAMES
        for name, source in (("labeled", train), ("test", test)):
            samples = data.split(name).read(range(len(source)))
            assert sorted(sample.key for sample in samples) == [f"{i:08d}-{i}" for i in range(len(source))]
            for sample in samples:
                record = source.read(int(sample.key[:8]))
                assert sample.label == record.label
                np.testing.assert_array_equal(sample.image, record.payload)
        assert {sample.label for sample in data.split("unlabeled").read(range(9))} == {-1}
        assert report.splits["labeled"].labels == (7, 7, 6)
        assert report.splits["unlabeled"].labels == ()

    def test_webdataset_itself_reads_it(self, tmp_path: Path) -> None:
        pack_splits(tmp_path / "out", labeled=reader(5))
        with (tmp_path / "out/labeled-00000.tar").open("rb") as stream:
            samples = list(group_by_keys(tar_file_expander([{"url": "here", "stream": stream}])))
        assert len(samples) == 5
        assert all({"png", "cls"} < sample.keys() for sample in samples)

    def test_truth_is_kept_on_request_only(self, tmp_path: Path) -> None:
        pack_splits(tmp_path / "out", labeled=reader(6), unlabeled=reader(6), keep_truth=True)
        labels = [sample.label for sample in opened(tmp_path / "out").split("unlabeled").read(range(6))]
        assert sorted(labels) == [0, 0, 1, 1, 2, 2]

    def test_the_same_input_gives_the_same_bytes(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            pack_splits(tmp_path / name, labeled=reader(20), unlabeled=reader(9))
        assert contents(tmp_path / "one") == contents(tmp_path / "two")
        with tarfile.open(tmp_path / "one/labeled-00000.tar") as tar:
            header = tar.getmembers()[0]
        assert (header.mtime, header.uid, header.gid, header.uname, header.gname) == (0, 0, 0, "", "")

    def test_order(self, tmp_path: Path) -> None:
        def keys(name: str, **options: object) -> list[str]:
            pack_splits(tmp_path / name, labeled=reader(30), options=PackOptions(**options))
            index = index_shard(tmp_path / name / "labeled-00000.tar")
            return [index.key(i) for i in range(len(index))]

        as_is = keys("a", order="as_is")
        assert as_is == sorted(as_is)
        first, second = keys("b"), keys("c", seed=1)
        assert sorted(first) == sorted(second) == as_is
        assert len({tuple(as_is), tuple(first), tuple(second)}) == 3

    def test_adding_a_split_leaves_the_others_alone(self, tmp_path: Path) -> None:
        pack_splits(tmp_path / "one", labeled=reader(20))
        pack_splits(tmp_path / "two", labeled=reader(20), test=reader(5))
        assert (tmp_path / "one/labeled-00000.tar").read_bytes() == (tmp_path / "two/labeled-00000.tar").read_bytes()

    def test_shards_end_by_count_and_by_size(self, tmp_path: Path) -> None:
        options = PackOptions(limits=ShardLimits(max_count=8))
        report = pack_splits(tmp_path / "count", labeled=reader(20), options=options)
        assert [shard.samples for shard in report.splits["labeled"].shards] == [8, 8, 4]
        options = PackOptions(limits=ShardLimits(max_bytes=5_000))
        report = pack_splits(tmp_path / "size", labeled=reader(20), options=options)
        assert [shard.samples for shard in report.splits["labeled"].shards] == [2] * 10  # 2,048 bytes a sample
        options = PackOptions(limits=ShardLimits(max_bytes=1))
        assert len(pack_splits(tmp_path / "tiny", labeled=reader(4), options=options).splits["labeled"].shards) == 4
        for name, shards in (("count", 3), ("size", 10), ("tiny", 4)):
            assert len(opened(tmp_path / name).split("labeled").group_sizes) == shards

    def test_description(self, tmp_path: Path) -> None:
        report = pack_splits(tmp_path / "out", labeled=reader(6), test=reader(3), source={"from": "here"})
        said = json.loads((tmp_path / "out/dataset.json").read_text())
        assert said["classes"] == NAMES
        assert said["format"] == 1
        assert said["source"] == {"from": "here"}
        assert said["splits"]["labeled"]["labels"] == [2, 2, 2]
        for split in report.splits.values():
            for shard in split.shards:
                assert (tmp_path / "out" / shard.file).stat().st_size == shard.bytes
        assert (tmp_path / "out/classes.txt").read_text() == "ant\nbee\ncow\n"

    def test_progress(self, tmp_path: Path) -> None:
        calls: list[tuple[int, int]] = []
        pack_splits(tmp_path / "out", labeled=reader(3), test=reader(2), progress=lambda *call: calls.append(call))
        assert calls == [(i, 5) for i in range(1, 6)]

    def test_what_cannot_be_packed(self, tmp_path: Path) -> None:
        other = ArrayReader(np.zeros((2, 2, 2), np.uint8), np.array([0, 1]), classes=["ant", "bee"], where="x")
        one = ArrayReader(np.zeros((2, 2, 2), np.uint8), np.array([0, 0]), classes=["ant"], where="x")
        bad = ArrayReader(np.zeros((2, 2, 2), np.uint8), np.array([0, 1]), classes=["ant", "[x"], where="x")
        twice = ArrayReader(np.zeros((2, 2, 2), np.uint8), np.array([0, 1]), classes=["ant", "ant"], where="x")
        for arguments, message in (
            ({}, "nothing to pack"),
            ({"labeled": reader(3, labeled=False)}, "labeled: 3 of 3 images have no label, the first is 0"),
            ({"labeled": reader(3), "test": other}, "'cow' is in labeled and not in test"),
            ({"labeled": one}, "only one class"),
            ({"labeled": bad}, r"'\[x' doesn't fit on a line"),
            ({"labeled": twice}, "'ant' occurs more than once"),
        ):
            with pytest.raises(UserError, match=message):
                pack_splits(tmp_path / "out", **arguments)
        assert list(tmp_path.iterdir()) == []


def test_keys_are_safe_and_unique() -> None:
    assert sample_key(7, "dogs/né.v1 (2)") == "00000007-dogs-n-v1-2"
    assert len(sample_key(1, "x" * 500)) < 100


class TestFolders:
    def test_two_folders(self, tmp_path: Path) -> None:
        image_files(tmp_path / "labeled", {"cat": 4, "dog": 6})
        image_files(tmp_path / "more", {"2020": 3, "2021/may": 2})
        report = pack_folders(tmp_path / "out", labeled=tmp_path / "labeled", unlabeled=tmp_path / "more", test=0.5)
        assert {name: split.samples for name, split in report.splits.items()} == {
            "labeled": 5, "unlabeled": 5, "test": 5,
        }  # fmt: skip
        assert report.splits["test"].labels == (2, 3)
        data = opened(tmp_path / "out")
        assert list(data.classes) == ["cat", "dog"]
        files = {path.read_bytes() for path in (tmp_path / "labeled").rglob("*.jpg")}
        packed = set()
        for name in ("labeled", "test"):
            with tarfile.open(tmp_path / f"out/{name}-00000.tar") as tar:
                packed |= {tar.extractfile(member).read() for member in tar if member.name.endswith(".jpg")}
        assert packed == files  # as they are, none lost, none in both

    def test_test_folder(self, tmp_path: Path) -> None:
        image_files(tmp_path / "labeled", {"cat": 2, "dog": 2})
        image_files(tmp_path / "test", {"dog": 3})
        report = pack_folders(tmp_path / "out", labeled=tmp_path / "labeled", test=tmp_path / "test")
        assert report.splits["test"].labels == (0, 3)
        image_files(tmp_path / "wrong", {"cats": 1})
        with pytest.raises(DataError, match="unknown class 'cats'; did you mean 'cat'"):
            pack_folders(tmp_path / "out2", labeled=tmp_path / "labeled", test=tmp_path / "wrong")

    def test_holding_out_too_many(self, tmp_path: Path) -> None:
        image_files(tmp_path / "labeled", {"cat": 2, "dog": 5})
        with pytest.raises(DataError, match=r"holding out 4 image\(s\) would leave none of class 0"):
            pack_folders(tmp_path / "out", labeled=tmp_path / "labeled", test=4)

    def test_damaged_images(self, tmp_path: Path) -> None:
        image_files(tmp_path / "labeled", {"cat": 3, "dog": 3})
        cut = tmp_path / "labeled/cat/1.jpg"
        cut.write_bytes(cut.read_bytes()[:-200])
        (tmp_path / "labeled/dog/2.jpg").write_text("<html>404</html>")
        with pytest.raises(DataError, match=r"labeled: (cat/1|dog/2)\.jpg.*--skip-damaged"):
            pack_folders(tmp_path / "out", labeled=tmp_path / "labeled")
        assert not (tmp_path / "out").exists()
        options = PackOptions(damaged="skip")
        report = pack_folders(tmp_path / "out", labeled=tmp_path / "labeled", options=options)
        assert report.splits["labeled"].labels == (2, 2)
        assert sum("left out" in note for note in report.notes) == 2
        assert json.loads((tmp_path / "out/dataset.json").read_text())["notes"] == list(report.notes)

    def test_nothing_but_damaged_images(self, tmp_path: Path) -> None:
        image_files(tmp_path / "labeled", {"cat": 1, "dog": 1})
        for path in (tmp_path / "labeled").rglob("*.jpg"):
            path.write_bytes(b"")
        with pytest.raises(DataError, match="not one image could be decoded"):
            pack_folders(tmp_path / "out", labeled=tmp_path / "labeled", options=PackOptions(damaged="skip"))


class TestSource:
    def arrays(self, folder: Path, labels: list[int]) -> Path:
        folder.mkdir()
        np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4), dtype=np.uint8))
        np.save(folder / "labels.npy", np.array(labels))
        return folder

    def test_labeled_count_and_test_fraction(self, tmp_path: Path) -> None:
        source = self.arrays(tmp_path / "source", [0, 1] * 20 + [-1] * 3)
        report = pack_source(tmp_path / "out", source=source, labeled=6, test=0.25)
        assert {name: split.samples for name, split in report.splits.items()} == {
            "labeled": 6, "unlabeled": 27, "test": 10,
        }  # fmt: skip
        assert report.splits["labeled"].labels == (3, 3)
        data = opened(tmp_path / "out")
        splits = [data.split(name) for name in ("labeled", "unlabeled", "test")]
        pixels = [sample.image.tobytes() for split in splits for sample in split.read(range(len(split)))]
        assert len(set(pixels)) == 43
        said = json.loads((tmp_path / "out/dataset.json").read_text())["source"]
        assert said == {
            "source": str(source), "format": "numpy", "split": None, "labeled": 6, "test": 0.25,
            "choice": "stratified",
        }  # fmt: skip

    def test_the_test_images_do_not_depend_on_the_labeled_count(self, tmp_path: Path) -> None:
        source = self.arrays(tmp_path / "source", [0, 1] * 20)
        for labeled in (2, 10):
            pack_source(tmp_path / str(labeled), source=source, labeled=labeled, test=8)
        assert (tmp_path / "2/test-00000.tar").read_bytes() == (tmp_path / "10/test-00000.tar").read_bytes()

    def test_without_settings_labels_decide(self, tmp_path: Path) -> None:
        source = self.arrays(tmp_path / "source", [0, -1, 1, -1, -1])
        report = pack_source(tmp_path / "out", source=source, keep_truth=True)
        assert {name: split.samples for name, split in report.splits.items()} == {"labeled": 2, "unlabeled": 3}

    def test_settings_that_contradict(self, tmp_path: Path) -> None:
        source = self.arrays(tmp_path / "source", [0, 1])
        with pytest.raises(UserError, match="leave `labels` and `test` unset"):
            pack_source(tmp_path / "out", source=source, split="cifar10-4k", labeled=4)
        with pytest.raises(UserError, match="the split svhn-1k is of svhn, the source is numpy"):
            pack_source(tmp_path / "out", source=source, split="svhn-1k")
        both = Source("idx", reader(6), reader(3))
        with pytest.raises(UserError, match="has 3 test images of its own"):
            divide(both, labeled=3, test=3, seed=0)

    def test_svhn_extra_images_are_unlabeled(self) -> None:
        parts = divide(Source("svhn", reader(9), reader(3), reader(5)), labeled=None, test=None, seed=0)
        assert [len(parts.labeled), len(parts.unlabeled), len(parts.test)] == [9, 5, 3]
        parts = divide(Source("svhn", reader(9), reader(3), reader(5)), labeled=3, test=None, seed=0)
        assert [len(parts.labeled), len(parts.unlabeled), len(parts.test)] == [3, 11, 3]
        assert parts.unlabeled.read(10).key == "extra/4"


def huge(count: int) -> ArrayReader:
    """As many images as the real data set, without the memory: every one is the same byte."""
    images = np.broadcast_to(np.uint8(0), (count, 32, 32, 3))
    return ArrayReader(images, np.arange(count) % 10, classes=[str(i) for i in range(10)], where="x")


class TestPaperSplits:
    def test_cifar10_4k(self) -> None:
        parts = paper_split(Source("cifar10", huge(50_000), huge(10_000)), "cifar10-4k")
        assert [len(parts.labeled), len(parts.unlabeled), len(parts.test)] == [4_000, 41_000, 10_000]
        assert parts.labeled.read(0).key == "5000"
        assert parts.unlabeled.read(0).key == "9000"
        assert [parts.held_out.read(0).key, len(parts.held_out)] == ["0", 5_000]

    def test_cifar10_4k_of_v1_labels_the_first(self) -> None:
        parts = paper_split(Source("cifar10", huge(50_000), huge(10_000)), "cifar10-4k-v1")
        assert [parts.labeled.read(0).key, len(parts.labeled), len(parts.unlabeled)] == ["0", 4_000, 46_000]
        assert parts.held_out is None

    def test_imagenet_by_shard(self) -> None:
        parts = paper_split(Source("folder", huge(1_281_167), huge(50_000)), "imagenet-10")
        sizes = [len(part) for part in (parts.labeled, parts.unlabeled, parts.held_out, parts.test)]
        assert sizes == [127_615, 1_128_529, 25_023, 50_000]

    def test_svhn_1k(self) -> None:
        parts = paper_split(Source("svhn", huge(73_257), huge(26_032), huge(531_131)), "svhn-1k")
        assert [len(parts.labeled), len(parts.unlabeled), len(parts.test)] == [1_000, 603_388, 26_032]
        assert parts.labeled.read(999).key == "train/999"
        assert parts.unlabeled.read(72_257).key == "extra/0"

    def test_incomplete(self) -> None:
        with pytest.raises(DataError, match=r"needs extra_32x32\.mat"):
            paper_split(Source("svhn", huge(73_257), huge(26_032)), "svhn-1k")
        with pytest.raises(UserError, match="unknown split 'imagenet'"):
            paper_split(Source("svhn", huge(1)), "imagenet")


class TestOutput:
    def test_what_is_there_is_kept(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        pack_splits(out, labeled=reader(5))
        before = contents(out)
        with pytest.raises(UserError, match=r"is already there.*--overwrite"):
            pack_splits(out, labeled=reader(9))
        assert contents(out) == before
        report = pack_splits(out, labeled=reader(9), options=PackOptions(overwrite=True))
        assert report.splits["labeled"].samples == len(index_shard(out / "labeled-00000.tar")) == 9
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_a_failed_overwrite_keeps_the_old(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        pack_splits(out, labeled=reader(5))
        before = contents(out)

        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pack_splits(out, labeled=reader(9), options=PackOptions(overwrite=True), progress=stop)
        assert contents(out) == before
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_a_folder_that_appears_meanwhile_is_kept(self, tmp_path: Path) -> None:
        def interfere(done: int, total: int) -> None:
            (tmp_path / "out").mkdir(exist_ok=True)
            (tmp_path / "out/other").write_text("of another process")

        with pytest.raises(UserError, match="is already there"):
            pack_splits(tmp_path / "out", labeled=reader(5), progress=interfere)
        assert contents(tmp_path / "out") == {"other": b"of another process"}
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_overwrite_needs_nothing_to_be_there(self, tmp_path: Path) -> None:
        pack_splits(tmp_path / "new/out", labeled=reader(5), options=PackOptions(overwrite=True))
        assert (tmp_path / "new/out/dataset.json").is_file()

    def test_nothing_of_others_is_overwritten(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("years of work")
        with pytest.raises(UserError, match=r"has no dataset\.json, so it isn't one of ours"):
            pack_splits(tmp_path, labeled=reader(5), options=PackOptions(overwrite=True))
        with pytest.raises(UserError, match="is already there"):
            pack_splits(tmp_path / "thesis.txt", labeled=reader(5))
        assert (tmp_path / "thesis.txt").read_text() == "years of work"

    def test_an_empty_folder_is_filled(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        pack_splits(tmp_path / "out", labeled=reader(5))
        assert (tmp_path / "out/dataset.json").is_file()

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(UserError, match=r"can't be written: .*file is a file, not a folder"):
            pack_splits(tmp_path / "file/deep/out", labeled=reader(5))
        with pytest.raises(UserError, match=r"can't be written: .*; choose another folder"):
            pack_splits("/proc/mplframe/out", labeled=reader(5))  # refuses even root

    def test_a_full_disk(self, tmp_path: Path) -> None:
        """The system refuses to let a file grow, in a process of its own; nothing is left behind."""
        program = """
import resource, signal, sys
import numpy as np
from mplframe.data.packing.pack import pack_splits
from mplframe.data.readers.arrays import ArrayReader
from mplframe.errors import RunError
images = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3), dtype=np.uint8)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    pack_splits(sys.argv[1], labeled=ArrayReader(images, np.arange(200) % 2, where="x"))
except RunError as error:
    sys.exit(str(error))
"""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, str(tmp_path / "out")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "the disk is full" in done.stderr
        assert done.stderr.count("\n") == 1  # one line, no traceback
        assert list(tmp_path.iterdir()) == []
