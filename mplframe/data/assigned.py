"""Samples that an earlier stage chose and labeled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mplframe.contracts.data import Clips, Sample, Split
from mplframe.data.assigned_member import one_hot
from mplframe.data.chosen import ChosenSplit
from mplframe.errors import DataError


def check_key(found: str, chosen: str, shard: str = "") -> None:
    """See that a sample is the one that was chosen.

    Args:
        found: its key.
        chosen: the key of the one that lay there.
        shard: where; empty where that isn't known.

    Raises:
        DataError: it is another one.
    """
    if found != chosen:
        where = f"{shard}: " if shard else ""
        raise DataError(
            f"{where}sample {found!r} lies where {chosen!r} was when it was chosen: the shards have changed since; "
            "label and select again"
        )


@final
class AssignedSplit(ChosenSplit):
    """Chosen samples of a split, each with what it is to be taken for.

    Args:
        split: where they come from.
        numbers: [M] int64, the chosen samples by their number in `split`, ascending; one that is chosen several times
            counts several times.
        targets: [M] class indices, or [M, C] probabilities of any float type.
        classes: C.
        keys: [M] of the chosen samples; where given, reading a sample with another key is an error.
    """

    def __init__(
        self,
        split: Split,
        numbers: npt.NDArray[np.int64],
        targets: npt.NDArray[Any],
        *,
        classes: int,
        keys: pa.LargeStringArray | None = None,
    ) -> None:
        if len(numbers) != len(targets):
            raise ValueError(f"{len(numbers)} samples are chosen but {len(targets)} targets given")
        super().__init__(split, numbers)
        self._targets, self._classes, self._keys = targets, classes, keys

    def scaled(self, shorter: int) -> Split:
        scaled = self._split.scaled(shorter)
        return AssignedSplit(scaled, self._numbers, self._targets, classes=self._classes, keys=self._keys)

    def read(self, indices: Sequence[int]) -> list[Sample]:
        """The chosen samples with these numbers, in this order, with their targets.

        Raises:
            DataError: a sample isn't the one that was chosen.
        """
        samples = super().read(indices)
        return [self._assigned(sample, i) for sample, i in zip(samples, indices, strict=True)]

    def read_clips(self, indices: Sequence[int], clips: Sequence[Clips]) -> list[Sample]:
        """As `read`, of videos."""
        samples = super().read_clips(indices, clips)
        return [self._assigned(sample, i) for sample, i in zip(samples, indices, strict=True)]

    def check_keys(self) -> None:
        """See that the samples are those that were chosen; none is read.

        Raises:
            DataError: one isn't.
        """
        for index in range(len(self)):
            self._check(self.key(index), index)

    def _check(self, key: str, index: int) -> None:
        if self._keys is not None:
            check_key(key, self._keys[index].as_py())

    def _assigned(self, sample: Sample, index: int) -> Sample:
        self._check(sample.key, index)
        found = self._targets[index]
        soft = self._targets.ndim == 2
        return replace(sample, target=np.asarray(found, np.float32) if soft else one_hot(int(found), self._classes))
