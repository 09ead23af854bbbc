"""Shards of the next shuffle window are fetched before they are asked for."""

import time
from pathlib import Path

import fsspec
import numpy as np
import pytest

from mplframe.data.shards.source import WebDataset
from mplframe.data.shards.split import ShardSplit
from mplframe.data.stream import Order, Stream
from tests.unit.data.data_support import ArraySplit, image, write_shards


class Told(ArraySplit):
    """Remembers what it was told to expect."""

    def __init__(self, groups: list[int]) -> None:
        super().__init__([image(i) for i in range(sum(groups))], groups)
        self.expected: list[list[int]] = []

    def expect(self, groups: list[int]) -> None:  # type: ignore[override]
        self.expected.append(groups)


def test_each_window_is_announced_once_while_the_one_before_is_read() -> None:
    split = Told([2] * 40)
    stream = Stream(
        split, name="x", seed=3, batch=4, size=8, channels=3, fit="exact", weak=[], strong=[], want_strong=False
    )
    order = Order(split.group_sizes, 3, "x")
    for step in range(40):  # two epochs, with windows of 32, 32 and 16 samples
        stream.samples(step)
    windows = [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]
    assert split.expected == [order.groups(window).tolist() for window in windows]
    # What was announced first is what the second window reads: samples 2 g and 2 g + 1 lie in group g.
    assert set((order.take(32, 64) // 2).tolist()) == set(split.expected[0])


@pytest.mark.parametrize("cache_mb", [100, 0])
def test_remote_shards_are_there_before_they_are_read(tmp_path: Path, cache_mb: int) -> None:
    store = fsspec.filesystem("memory")
    for path in write_shards(tmp_path / "source", [2] * 4):
        store.put_file(path, f"/ahead{cache_mb}/{Path(path).name}")
    cache = tmp_path / "cache"
    config = WebDataset.Config(
        labeled=f"memory://ahead{cache_mb}/*.tar", classes=10, cache=str(cache), cache_mb=cache_mb, memory_mb=0
    )
    split = WebDataset(config).split("labeled")
    assert isinstance(split, ShardSplit)
    for copy in cache.glob("shards/*.tar"):  # the scan for the index has fetched them
        copy.unlink()
    split.expect([1, 3])
    wanted = {"001.tar", "003.tar"} if cache_mb else set()
    until = time.monotonic() + 10
    while _copies(cache) != wanted and time.monotonic() < until:
        time.sleep(0.01)
    assert _copies(cache) == wanted
    np.testing.assert_array_equal(split.read([2])[0].image, image(2))


def _copies(cache: Path) -> set[str]:
    return {path.name.rpartition("-")[2] for path in cache.glob("shards/*.tar")}
