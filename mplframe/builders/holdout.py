"""Labeled samples that are held out of training, to choose settings by."""

from __future__ import annotations

import numpy as np

from mplframe.contracts.data import Split
from mplframe.data.chosen import ChosenSplit
from mplframe.data.partition import Amount, hold_out_of
from mplframe.data.splits import rest

CHUNK = 4096
"""Samples whose labels are read at once."""


def hold_out(labeled: Split, readable: Split, amount: Amount) -> tuple[Split, Split]:
    """What is left of a labeled split, and what is held out of it: of each class alike, always the same samples.

    Args:
        labeled: the split.
        readable: the same samples for reading their labels, around damaged ones.
        amount: how many samples are held out, or a fraction below 1.

    Raises:
        DataError: a class has too few samples, or more samples are damaged than may be.
    """
    labels = np.concatenate(
        [readable.labels(range(start, min(start + CHUNK, len(readable)))) for start in range(0, len(readable), CHUNK)]
    )
    held_out = hold_out_of(labels, amount, "stratified", seed=0)
    return ChosenSplit(labeled, rest(len(labeled), held_out)), ChosenSplit(labeled, held_out)
