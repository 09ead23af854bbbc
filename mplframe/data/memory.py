"""Decoded samples that are kept while they fit."""

from __future__ import annotations

import threading

from mplframe.contracts.data import Sample

OVERHEAD = 512
"""What a sample takes beside its pixels, in bytes: objects, key, dictionary entry."""


class Memory:
    """Samples by number and size, up to a bound in bytes; safe to use from many threads.

    The size is the least that the shorter side was to keep, or None where it is the whole image.

    What came first stays: with every sample read once an epoch, replacing one by another gains nothing.
    """

    def __init__(self, bound: int) -> None:
        self._left = bound
        self._kept: dict[tuple[int, int | None], Sample] = {}
        self._lock = threading.Lock()

    def get(self, number: int, shorter: int | None) -> Sample | None:
        """The sample, if it is kept."""
        return self._kept.get((number, shorter))

    def offer(self, number: int, shorter: int | None, sample: Sample) -> None:
        """Keep a sample if there is room."""
        size = sample.image.nbytes + OVERHEAD + (0 if sample.target is None else sample.target.nbytes)
        with self._lock:
            if size <= self._left and (number, shorter) not in self._kept:
                self._kept[number, shorter] = sample
                self._left -= size
