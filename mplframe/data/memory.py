"""Decoded samples that are kept while they fit."""

from __future__ import annotations

import threading

from mplframe.contracts.data import Sample

OVERHEAD = 512
"""What a sample takes beside its pixels, in bytes: objects, key, dictionary entry."""


class Memory:
    """Samples by number, up to a bound in bytes; safe to use from many threads.

    What came first stays: with every sample read once an epoch, replacing one by another gains nothing.
    """

    def __init__(self, bound: int) -> None:
        self._left = bound
        self._kept: dict[int, Sample] = {}
        self._lock = threading.Lock()

    def get(self, number: int) -> Sample | None:
        """The sample, if it is kept."""
        return self._kept.get(number)

    def offer(self, number: int, sample: Sample) -> None:
        """Keep a sample if there is room."""
        size = sample.image.nbytes + OVERHEAD
        with self._lock:
            if size <= self._left and number not in self._kept:
                self._kept[number] = sample
                self._left -= size
