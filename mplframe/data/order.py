"""The order in which training sees samples: one endless, seekable line."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


def generator(seed: int, *path: str | int) -> np.random.Generator:
    """Random numbers that depend on the seed and on a path of names and non-negative numbers alone."""
    # SeedSequence takes [1, 2] and [1, 2, 0] for the same entropy, so the length of the path is part of it.
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in path]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, len(path), *words])))


class Order:
    """An endless line of sample numbers, epoch after epoch; a position on it is all there is to save.

    Each epoch is a permutation of all samples: groups are permuted, `window` consecutive ones are gathered, and samples
    are fully shuffled within the window. Only a few windows are ever in memory.

    Args:
        group_sizes: how many samples lie together, group by group; samples are numbered through the groups.
        seed: of the run.
        name: of the stream; streams of different names have independent orders.
        window: groups that are shuffled together.
    """

    def __init__(self, group_sizes: Sequence[int], seed: int, name: str, window: int = 16) -> None:
        self._sizes = np.asarray(group_sizes, dtype=np.int64)
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._seed, self._name, self._width = seed, name, window
        self.samples = int(self._sizes.sum())
        if self.samples < 1:
            raise ValueError("an order needs at least one sample")
        self._epoch = lru_cache(maxsize=2)(self._permuted_groups)
        self._window = lru_cache(maxsize=4)(self._shuffled_window)

    def take(self, start: int, stop: int) -> Numbers:
        """[stop - start] int64 sample numbers at these positions of the line; may span any number of epochs."""
        parts: list[Numbers] = [np.empty(0, np.int64)]
        while start < stop:
            epoch, at = divmod(start, self.samples)
            ends = self._epoch(epoch)[1]
            number = int(np.searchsorted(ends, at, side="right"))
            window = self._window(epoch, number)
            first = at - (int(ends[number]) - len(window))
            parts.append(window[first : first + stop - start])
            start += len(parts[-1])
        return np.concatenate(parts)

    def window(self, position: int) -> tuple[int, int]:
        """The epoch and the number of the window that a position lies in."""
        epoch, at = divmod(position, self.samples)
        return epoch, int(np.searchsorted(self._epoch(epoch)[1], at, side="right"))

    def groups(self, window: tuple[int, int]) -> Numbers:
        """The groups of a window; behind an epoch's last window comes the next epoch's first."""
        epoch, number = window
        if number == len(self._epoch(epoch)[1]):
            epoch, number = epoch + 1, 0
        return self._epoch(epoch)[0][number * self._width : (number + 1) * self._width]

    def _permuted_groups(self, epoch: int) -> tuple[Numbers, Numbers]:
        """The groups in the epoch's order, and the position within the epoch at which each window ends."""
        groups = generator(self._seed, self._name, "groups", epoch).permutation(len(self._sizes))
        ends = np.cumsum(self._sizes[groups])
        last = np.minimum(np.arange(self._width, len(groups) + self._width, self._width), len(groups)) - 1
        return groups, ends[last]

    def _shuffled_window(self, epoch: int, number: int) -> Numbers:
        groups = self.groups((epoch, number))
        samples = np.concatenate([np.arange(self._starts[g], self._starts[g] + self._sizes[g]) for g in groups])
        generator(self._seed, self._name, "window", epoch, number).shuffle(samples)
        return samples
