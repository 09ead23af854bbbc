from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mplframe.data.inspecting.inspection import Sizes, contact_sheet, inspect, verify, verify_shards
from mplframe.data.inspecting.sheets import evenly_spaced
from mplframe.data.packing.pack import PackOptions, ShardLimits, pack_splits
from mplframe.data.readers.arrays import ArrayReader
from mplframe.data.shards.index import index_shard
from mplframe.data.shards.source import WebDataset
from mplframe.errors import DataError, UserError

LABELED = np.array([0, 0, 0, 1, 1, 0])


def reader(labels: np.ndarray, size: int = 8, channels: int = 3) -> ArrayReader:
    images = np.random.default_rng(0).integers(0, 256, (len(labels), size, size, channels), dtype=np.uint8)
    return ArrayReader(images, labels, classes=["ant", "bee", "cow"], where="memory")


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    options = PackOptions(limits=ShardLimits(max_count=2), order="as_is")
    splits = {"labeled": reader(LABELED), "unlabeled": reader(np.zeros(5, int), 9), "test": reader(np.arange(3), 8, 1)}
    pack_splits(tmp_path / "packed", **splits, options=options)
    return tmp_path / "packed"


def config(packed: Path, classes: int | str | None = None, **splits: str) -> WebDataset.Config:
    urls = splits or {name: str(packed / f"{name}-*.tar") for name in ("labeled", "unlabeled", "test")}
    return WebDataset.Config(**urls, classes=classes or str(packed / "classes.txt"), cache=str(packed.parent / "cache"))


def damage(shard: Path, sample: int) -> None:
    """Overwrite the pixels of one sample, and leave the tar whole."""
    offset, length = index_shard(shard).members(sample)["png"]
    content = bytearray(shard.read_bytes())
    content[offset + 20 : offset + length - 4] = bytes(length - 24)
    shard.chmod(0o644)
    shard.write_bytes(content)


class TestInspect:
    def test_everything(self, packed: Path) -> None:
        found = inspect(WebDataset(config(packed)))
        labeled, unlabeled, test = (found.splits[name] for name in ("labeled", "unlabeled", "test"))
        assert found.classes == ("ant", "bee", "cow")
        assert found.problems == ()
        assert (labeled.shards, labeled.samples, labeled.read) == (3, 6, 6)
        assert labeled.class_counts == {"ant": 4, "bee": 2, "cow": 0}
        assert labeled.imbalance == float("inf")
        assert (unlabeled.without_label, unlabeled.imbalance) == (5, None)
        assert unlabeled.image_sizes == {(9, 9, 3): 5}
        assert test.imbalance == 1.0
        assert test.image_sizes == {(8, 8, 1): 3}

    def test_shards_are_measured(self, packed: Path) -> None:
        found = inspect(WebDataset(config(packed)), config=config(packed)).splits["unlabeled"]
        sizes = sorted(path.stat().st_size for path in packed.glob("unlabeled-*.tar"))
        assert found.shard_bytes == Sizes(sum(sizes), sizes[0], sizes[1], sizes[2])
        assert inspect(WebDataset(config(packed))).splits["unlabeled"].shard_bytes is None
        assert Sizes.of([1, 4]).median == 2

    def test_damage_is_shown(self, packed: Path) -> None:
        shard = packed / "labeled-00001.tar"
        content = shard.read_bytes()
        shard.unlink()
        shard.write_bytes(content[: 2 * 512 + 1024 + 512])  # within the second sample
        labeled = inspect(WebDataset(config(packed))).splits["labeled"]
        assert labeled.samples < 6
        assert {found.where for found in labeled.damage} == {str(shard)}
        assert "cut short" in labeled.damage[-1].reason

    def test_a_bounded_sample(self, packed: Path) -> None:
        labeled = inspect(WebDataset(config(packed)), limit=2).splits["labeled"]
        assert (labeled.samples, labeled.read) == (6, 2)
        assert sum(labeled.class_counts.values()) == 2
        with pytest.raises(UserError, match="at least one"):
            inspect(WebDataset(config(packed)), limit=0)

    def test_one_bad_split_does_not_hide_the_others(self, packed: Path) -> None:
        damage(packed / "test-00000.tar", 0)
        found = inspect(WebDataset(config(packed)))
        assert found.splits.keys() == {"labeled", "unlabeled"}
        assert [problem.split for problem in found.problems] == ["test"]


class TestVerify:
    def test_all_is_well(self, packed: Path) -> None:
        calls: list[int] = []
        assert verify(WebDataset(config(packed)), calls.append) == []
        assert calls == list(range(1, 15))
        assert verify_shards(config(packed)) == []

    def test_every_problem_is_reported(self, packed: Path) -> None:
        damage(packed / "labeled-00000.tar", 1)
        damage(packed / "labeled-00002.tar", 0)
        damage(packed / "unlabeled-00001.tar", 1)
        problems = verify(WebDataset(config(packed)))
        assert [(problem.split, problem.shard, problem.sample) for problem in problems] == [
            ("labeled", "0", 1), ("labeled", "2", 0), ("unlabeled", "1", 1),
        ]  # fmt: skip
        assert all("can't be decoded" in problem.reason for problem in problems)
        assert "00000001-1" in problems[0].reason

    def test_labels_out_of_range(self, packed: Path) -> None:
        problems = verify_shards(config(packed, classes=2))
        assert [(problem.split, problem.sample) for problem in problems] == [("test", 0)]
        assert "label 2 is out of range" in problems[0].reason

    def test_damaged_shards_do_not_hide_the_others(self, packed: Path) -> None:
        for number, keep in ((0, 700), (2, 1_000)):
            shard = packed / f"labeled-{number:05d}.tar"
            content = shard.read_bytes()[:keep]
            shard.unlink()
            shard.write_bytes(content)
        damage(packed / "labeled-00001.tar", 0)
        problems = verify_shards(config(packed))
        assert list(dict.fromkeys((Path(problem.shard).name, problem.sample) for problem in problems)) == [
            ("labeled-00000.tar", None), ("labeled-00001.tar", 0), ("labeled-00002.tar", None),
        ]  # fmt: skip
        assert {problem.sample for problem in verify(WebDataset(config(packed)))} == {None, 0}

    def test_missing_shards(self, packed: Path) -> None:
        problems = verify_shards(config(packed, labeled=str(packed / "nothing-*.tar")))
        assert [problem.split for problem in problems] == ["labeled"]
        with pytest.raises(DataError, match="no shards to verify"):
            verify_shards(WebDataset.Config(classes=3))


class TestContactSheet:
    def test_tiles_are_the_samples(self, packed: Path, tmp_path: Path) -> None:
        source = WebDataset(config(packed))
        path = contact_sheet(source.split("labeled"), source.classes, tmp_path / "deep/sheet.png", n=4)
        with Image.open(path) as image:
            sheet = np.asarray(image)
        assert sheet.ndim == 3
        first = source.split("labeled").read([0])[0].image
        np.testing.assert_array_equal(sheet[6 : 6 + 96, 6 : 6 + 96], np.kron(first, np.ones((12, 12, 1), np.uint8)))

    def test_grey_large_and_without_label(self, tmp_path: Path) -> None:
        pack_splits(tmp_path / "p", unlabeled=reader(np.arange(3), 200, 1))
        source = WebDataset(
            WebDataset.Config(unlabeled=str(tmp_path / "p/unlabeled-*.tar"), classes=3, cache=str(tmp_path))
        )
        path = contact_sheet(source.split("unlabeled"), source.classes, tmp_path / "sheet.png")
        with Image.open(path) as sheet:
            assert sheet.size == (3 * 102 + 6, 116 + 6)

    def test_errors(self, packed: Path) -> None:
        source = WebDataset(config(packed))
        with pytest.raises(UserError, match="n=0"):
            contact_sheet(source.split("labeled"), source.classes, packed / "x.png", n=0)
        with pytest.raises(UserError, match="can't be written"):
            contact_sheet(source.split("labeled"), source.classes, packed / "classes.txt/x.png")


def test_evenly_spaced() -> None:
    assert evenly_spaced(3, 10) == [0, 1, 2]
    assert evenly_spaced(101, 3) == [0, 50, 100]
    assert evenly_spaced(5, 1) == [0]
