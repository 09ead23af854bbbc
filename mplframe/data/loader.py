"""Both streams, step by step."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from mplframe.contracts.batch import Batch
from mplframe.data.stream import Stream
from mplframe.data.workers import ordered


class Loader:
    """Makes the batches of a run; the same for any number of workers.

    Args:
        labeled: the labeled stream.
        unlabeled: the unlabeled stream, where the method uses one.
        workers: threads that make batches; 0 makes them in the thread that iterates.
        prefetch: finished batches that may wait.
        prefetch_bytes: bound of what they take; one may always wait.
        pin: put batches into page-locked memory, for asynchronous copies to a GPU.
    """

    def __init__(
        self,
        labeled: Stream,
        unlabeled: Stream | None,
        *,
        workers: int,
        prefetch: int,
        prefetch_bytes: int = 1 << 30,
        pin: bool = False,
    ) -> None:
        self._labeled, self._unlabeled = labeled, unlabeled
        self._workers, self._pin = workers, pin
        size = labeled.bytes_a_step + (unlabeled.bytes_a_step if unlabeled is not None else 0)
        self._prefetch = max(1, min(prefetch, prefetch_bytes // size))

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches of steps `start` to `stop`, in order. Close the iterator to end the workers early.

        Raises:
            DataError: a sample is damaged or has the wrong size.
        """
        return ordered(self._batch, range(start, stop), workers=self._workers, prefetch=self._prefetch)

    def _batch(self, step: int) -> Batch:
        batch = Batch(self._labeled.samples(step), None if self._unlabeled is None else self._unlabeled.samples(step))
        return batch.map(torch.Tensor.pin_memory) if self._pin else batch
