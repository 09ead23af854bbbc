"""Labeled samples that are held out of training, to choose settings by."""

from __future__ import annotations

import numpy as np

from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import Split
from mplframe.data.chosen import ChosenSplit
from mplframe.data.damaged import usable
from mplframe.data.partition import Amount, hold_out_of
from mplframe.data.splits import rest

CHUNK = 256
"""Samples that are read at once for their labels."""


def hold_out(labeled: Split, readable: Split, amount: Amount) -> tuple[Split, Split]:
    """What is left of a labeled split, and what is held out of it: of each class alike, always the same samples.

    Args:
        labeled: the split.
        readable: the same samples for reading their labels, around damaged ones.
        amount: how many samples are held out, or a fraction below 1.

    Raises:
        DataError: a class has too few samples, or more samples are damaged than may be.
    """
    held_out = hold_out_of(_labels(readable), amount, "stratified", seed=0)
    return ChosenSplit(labeled, rest(len(labeled), held_out)), ChosenSplit(labeled, held_out)


def _labels(split: Split) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """[N] class indices, `UNKNOWN` for samples that can't be used."""
    small = split.scaled(1)
    labels = np.full(len(split), UNKNOWN, np.int64)
    for start in range(0, len(split), CHUNK):
        for number, sample in usable(small, range(start, min(start + CHUNK, len(split)))):
            labels[number] = sample.label
    return labels
