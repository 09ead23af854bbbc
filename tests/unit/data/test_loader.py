import threading
from typing import Any

import pytest
import torch
from data_support import ArraySplit, image
from test_stream import SPLIT, same, stream

from mplframe.contracts.batch import Batch
from mplframe.contracts.data import Sample
from mplframe.data.stream import Loader
from mplframe.errors import DataError
from mplframe.io.threads import ordered


def batches(workers: int, prefetch: int = 2, start: int = 0, stop: int = 9) -> list[Batch]:
    loader = Loader(stream(), stream(name="unlabeled", batch=20), workers=workers, prefetch=prefetch)
    return list(loader.batches(start, stop))


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mplframe-data")]


@pytest.mark.parametrize(("workers", "prefetch"), [(1, 1), (3, 1), (2, 50)])
def test_batches_do_not_depend_on_workers(workers: int, prefetch: int) -> None:
    for ours, theirs in zip(batches(workers, prefetch), batches(0), strict=True):
        assert same(ours.labeled, theirs.labeled)
        assert ours.unlabeled is not None
        assert theirs.unlabeled is not None
        assert same(ours.unlabeled, theirs.unlabeled)
    assert not threads()


def test_a_later_start_is_the_rest() -> None:
    for ours, theirs in zip(batches(2, start=5), batches(0)[5:], strict=True):
        assert same(ours.labeled, theirs.labeled)
    assert batches(2, start=9) == []


def test_without_an_unlabeled_stream() -> None:
    assert next(Loader(stream(), None, workers=1, prefetch=1).batches(0, 1)).unlabeled is None


class Damaged(ArraySplit):
    """Sample 5 can't be read."""

    def read(self, indices: Any) -> list[Sample]:
        if 5 in indices:
            raise DataError("sample 's5' in x.tar: the image can't be decoded")
        return super().read(indices)


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_of_workers_reach_the_consumer(workers: int) -> None:
    loader = Loader(stream(Damaged([image(i) for i in range(37)])), None, workers=workers, prefetch=2)
    with pytest.raises(DataError, match=r"'s5' in x\.tar"):
        list(loader.batches(0, 9))
    assert not threads()


def test_closing_early_ends_the_threads() -> None:
    line = Loader(stream(), None, workers=3, prefetch=2).batches(0, 10**9)
    next(line)
    assert len(threads()) == 3
    line.close()  # type: ignore[attr-defined]
    assert not threads()


def test_work_ahead_is_bounded() -> None:
    begun: list[int] = []
    line = ordered(lambda i: begun.append(i) or i, range(100), workers=2, prefetch=3)
    assert [next(line) for _ in range(4)] == [0, 1, 2, 3]
    assert len(begun) <= 4 + 2 + 3
    assert list(line) == list(range(4, 100))


def test_the_thread_count_of_torch_is_left_alone() -> None:
    counts: list[int] = []
    torch.set_num_threads(2)
    try:
        counts += ordered(lambda _: torch.get_num_threads(), range(3), workers=2, prefetch=1)
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert (counts, torch.get_num_threads(), later) == ([1, 1, 1], 2, [2])
    finally:
        torch.set_num_threads(1)


def test_many_epochs_of_a_tiny_split() -> None:
    tiny = stream(ArraySplit(SPLIT.images[:3]), batch=8, weak=[], strong=[])
    labels = torch.cat([batch.labeled.labels for batch in Loader(tiny, None, workers=2, prefetch=2).batches(0, 30)])  # type: ignore[misc]
    assert torch.bincount(labels).tolist() == [80, 80, 80]
