"""Some samples of a split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mplframe.contracts.data import Clips, Damage, Media, Sample, Split


class ChosenSplit(Split):
    """Some samples of a split.

    Args:
        split: where they come from.
        numbers: [M] int64, their numbers in `split`, ascending; one that comes several times counts several times.
    """

    def __init__(self, split: Split, numbers: npt.NDArray[np.int64]) -> None:
        if np.any(np.diff(numbers) < 0):
            raise ValueError("numbers must ascend")
        self._split, self._numbers = split, numbers
        owners = np.searchsorted(np.cumsum(split.group_sizes), numbers, side="right")
        self._owners, self._sizes = np.unique(owners, return_counts=True)

    @property
    def group_sizes(self) -> Sequence[int]:
        """Chosen samples in each group of the split that has any."""
        return list(self._sizes.tolist())

    @property
    def group_names(self) -> Sequence[str]:
        names = self._split.group_names
        return [names[owner] for owner in self._owners.tolist()]

    @property
    def media(self) -> frozenset[Media]:
        return self._split.media

    @property
    def damage(self) -> Sequence[Damage]:
        return self._split.damage

    def key(self, index: int) -> str:
        return self._split.key(int(self._numbers[index]))

    def labels(self, indices: Sequence[int]) -> list[int]:
        return self._split.labels(self._numbers[list(indices)].tolist())

    def tags(self, indices: Sequence[int]) -> list[tuple[int, ...]] | None:
        return self._split.tags(self._numbers[list(indices)].tolist())

    def expect(self, groups: Sequence[int]) -> None:
        self._split.expect(self._owners[list(groups)].tolist())

    def scaled(self, shorter: int) -> Split:
        return ChosenSplit(self._split.scaled(shorter), self._numbers)

    def read(self, indices: Sequence[int]) -> list[Sample]:
        return self._split.read(self._numbers[list(indices)].tolist())

    def read_clips(self, indices: Sequence[int], clips: Sequence[Clips]) -> list[Sample]:
        return self._split.read_clips(self._numbers[list(indices)].tolist(), clips)
