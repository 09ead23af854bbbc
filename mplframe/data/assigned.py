"""Samples that an earlier stage chose and labeled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from mplframe.contracts.data import Damage, Sample, Split


@final
class AssignedSplit(Split):
    """Chosen samples of a split, each with what it is to be taken for.

    Args:
        split: where they come from.
        numbers: [M] int64, the chosen samples by their number in `split`, ascending; one that is chosen several times
            counts several times.
        targets: [M] class indices, or [M, C] probabilities of any float type.
        classes: C.
    """

    def __init__(
        self, split: Split, numbers: npt.NDArray[np.int64], targets: npt.NDArray[Any], *, classes: int
    ) -> None:
        if len(numbers) != len(targets):
            raise ValueError(f"{len(numbers)} samples are chosen but {len(targets)} targets given")
        if np.any(np.diff(numbers) < 0):
            raise ValueError("numbers must ascend")
        self._split, self._numbers, self._targets, self._classes = split, numbers, targets, classes
        owners = np.searchsorted(np.cumsum(split.group_sizes), numbers, side="right")
        self._owners, self._sizes = np.unique(owners, return_counts=True)

    @property
    def group_sizes(self) -> Sequence[int]:
        """Chosen samples in each group of the split that has any."""
        return list(self._sizes.tolist())

    @property
    def damage(self) -> Sequence[Damage]:
        return self._split.damage

    def key(self, index: int) -> str:
        return self._split.key(int(self._numbers[index]))

    def expect(self, groups: Sequence[int]) -> None:
        self._split.expect(self._owners[list(groups)].tolist())

    def scaled(self, shorter: int) -> Split:
        return AssignedSplit(self._split.scaled(shorter), self._numbers, self._targets, classes=self._classes)

    def read(self, indices: Sequence[int]) -> list[Sample]:
        """The chosen samples with these numbers, in this order, with their targets."""
        samples = self._split.read(self._numbers[list(indices)].tolist())
        return [replace(sample, target=self._target(i)) for sample, i in zip(samples, indices, strict=True)]

    def _target(self, index: int) -> npt.NDArray[np.float32]:
        found = self._targets[index]
        if self._targets.ndim == 2:
            return np.asarray(found, np.float32)
        row = np.zeros(self._classes, np.float32)
        row[found] = 1.0
        return row
