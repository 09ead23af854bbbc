from functools import partial
from pathlib import Path

import numpy as np
import pytest
from data_support import CONTENT
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from mplframe.data.shards.content import Content, Files, Ranges, open_local, pieces, runs
from mplframe.data.shards.listing import Shard, list_shards
from mplframe.errors import DataError
from mplframe.io.stores import Stores

STORES = Stores()
SPANS = st.lists(st.tuples(st.integers(0, 900), st.integers(0, 99)), max_size=20)


@given(SPANS, st.integers(0, 200), st.integers(1, 500))
def test_runs_hold_their_spans_and_no_long_gap(spans: list[tuple[int, int]], gap: int, longest: int) -> None:
    found = runs(spans, gap=gap, longest=longest)
    assert sorted(number for run in found for number in run.spans) == list(range(len(spans)))
    for run in found:
        inside = sorted(spans[number] for number in run.spans)
        assert (run.start, run.end) == (inside[0][0], max(offset + length for offset, length in inside))
        assert run.end - run.start <= longest or any(length > longest for _, length in inside)
        covered = np.zeros(1_000, bool)
        for offset, length in inside:
            covered[offset : offset + length] = True
        holes = np.diff(np.flatnonzero(np.concatenate([[True], covered[run.start : run.end], [True]])))
        assert holes.max() - 1 <= gap
    cut = pieces(spans, found, [CONTENT[run.start : run.end] for run in found])
    assert [bytes(piece) for piece in cut] == [CONTENT[offset : offset + length] for offset, length in spans]


@pytest.fixture(params=["files", "ranges"])
def shard(request: pytest.FixtureRequest, tmp_path: Path, memory: MemoryFileSystem) -> tuple[Content, Shard]:
    """The same bytes on the local disk and in a store."""
    (tmp_path / "a.tar").write_bytes(CONTENT)
    memory.pipe("/content/a.tar", CONTENT)
    if request.param == "files":
        return Files(partial(open_local, STORES)), list_shards(str(tmp_path / "a.tar"), STORES)[0]
    return Ranges(STORES), list_shards("memory://content/a.tar", STORES)[0]


def test_pieces_and_the_whole(shard: tuple[Content, Shard]) -> None:
    content, one = shard
    spans = [(500_000, 12_000), (7, 100), (0, 10), (107, 5), (300_000, 0)]
    assert [bytes(piece) for piece in content.read(one, spans)] == [CONTENT[a : a + n] for a, n in spans]
    assert content.read(one, []) == []
    with content.open(one) as file:
        assert file.read(10) == CONTENT[:10]
        assert file.seek(-5, 2) == len(CONTENT) - 5
        assert file.read(10) == CONTENT[-5:]
        file.seek(1_000)
        assert file.read(3) == CONTENT[1_000:1_003]


def test_another_version_is_never_mixed_in(shard: tuple[Content, Shard], memory: MemoryFileSystem) -> None:
    content, one = shard
    if one.url.startswith("memory"):
        memory.pipe("/content/a.tar", CONTENT[::-1])
    else:
        Path(one.url).write_bytes(CONTENT[1:])
    with pytest.raises(DataError, match=r"a.tar was changed while it was in use: 512000 bytes .* start again"):
        content.read(one, [(0, 10)])
    with pytest.raises(DataError, match="was changed while it was in use"), content.open(one) as file:
        file.read(10)


def test_a_shard_that_is_gone(shard: tuple[Content, Shard], memory: MemoryFileSystem) -> None:
    content, one = shard
    if one.url.startswith("memory"):
        memory.rm("/content/a.tar")
    else:
        Path(one.url).unlink()
    with pytest.raises(DataError, match=r"a.tar (doesn't exist|can't be read any more: No such file)"):
        content.read(one, [(0, 10)])
