"""Which images go into which split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import Split
from mplframe.data.manifests import ChosenSplit
from mplframe.data.packing.choice import (
    Indices,
    cifar10_4k,
    imagenet,
    rest,
    stratified_count,
    stratified_fraction,
    svhn_1k,
)
from mplframe.data.readers.base import Chain, Reader, Subset
from mplframe.data.readers.detect import Source
from mplframe.errors import DataError, UserError

PaperSplit = Literal[
    "cifar10-4k", "cifar10-4k-v1", "svhn-1k", "imagenet-1", "imagenet-10", "imagenet-20", "imagenet-40", "imagenet-80"
]
Amount = int | float
"""A number of images, or a fraction below 1 of them."""

Choice = Literal["stratified", "in-order"]
"""At random with each class alike, or the first ones; what is held out comes before what is labeled."""


@dataclass(frozen=True)
class Parts:
    """The splits; None where there is none. What is held out is for tuning, in place of the test images."""

    labeled: Reader | None = None
    unlabeled: Reader | None = None
    test: Reader | None = None
    held_out: Reader | None = None


def paper_split(source: Source, name: PaperSplit) -> Parts:
    """A split that the papers report on; see `splits.cifar10_4k`, `splits.svhn_1k` and `splits.imagenet`.

    Raises:
        UserError: the source is another data set.
        DataError: it isn't complete.
    """
    if name not in get_args(PaperSplit):
        raise UserError(f"unknown split {name!r} (allowed: {', '.join(get_args(PaperSplit))})")
    family = name.partition("-")[0]
    needed = {"imagenet": "folder"}.get(family, family)
    if source.format != needed:
        raise UserError(f"the split {name} is of {family}, the source is {source.format}; name the folder of {family}")
    everything: Reader = source.train
    if family == "svhn":
        if source.extra is None:
            raise DataError("the split svhn-1k needs extra_32x32.mat beside train_32x32.mat")
        everything = Chain(train=source.train, extra=source.extra)
        split = svhn_1k(len(source.train), len(source.extra))
    elif family == "imagenet":
        split = imagenet(int(name.rpartition("-")[2]), len(source.train))
    else:
        split = cifar10_4k(len(source.train), held_out=0 if name.endswith("v1") else 5_000)
    return Parts(
        labeled=Subset(everything, split.labeled),
        unlabeled=Subset(everything, split.unlabeled),
        test=source.test,
        held_out=Subset(everything, split.held_out) if len(split.held_out) else None,
    )


def divide(
    source: Source,
    *,
    split: PaperSplit | None = None,
    labeled: Amount | None = None,
    test: Amount | None = None,
    choice: Choice = "stratified",
    seed: int = 0,
) -> Parts:
    """Divide a source.

    Args:
        source: what is divided. Images without a label and extra ones become unlabeled.
        split: a split of the papers, in file order; excludes `labeled` and `test`.
        labeled: training images that stay labeled, the rest becoming unlabeled; None keeps all labels.
        test: training images that are held out; None takes the source's own test images.
        choice: how both are chosen.
        seed: of the choice. The test images don't depend on how many are labeled.

    Raises:
        UserError: settings contradict each other, or `test` is given though the source has test images of its own.
        DataError: a class has too few images.
    """
    if split is not None:
        if labeled is not None or test is not None:
            raise UserError(f"the split {split} says what is labeled and what is test; leave `labels` and `test` unset")
        return paper_split(source, split)
    if test is not None and source.test is not None:
        raise UserError(
            f"this {source.format} data set has {len(source.test):,} test images of its own; leave `test` unset"
        )
    left = source.train.labels.copy()
    held_out = np.empty(0, dtype=np.int64) if test is None else hold_out_of(left, test, choice, seed)
    left[held_out] = UNKNOWN
    chosen = np.flatnonzero(left != UNKNOWN) if labeled is None else choose(left, labeled, choice, seed)
    others = _unlabeled(source, Subset(source.train, rest(len(left), held_out, chosen)))
    return Parts(
        labeled=Subset(source.train, chosen) if len(chosen) else None,
        unlabeled=others,
        test=Subset(source.train, held_out) if test is not None else source.test,
    )


def hold_out(reader: Reader, amount: Amount, seed: int) -> tuple[Reader, Reader]:
    """What is left of a labeled reader, and `amount` images of it (a count, or a fraction below 1) held out.

    Raises:
        DataError: a class has too few images.
    """
    chosen = hold_out_of(reader.labels, amount, "stratified", seed)
    return Subset(reader, rest(len(reader), chosen)), Subset(reader, chosen)


def choose(labels: Indices, amount: Amount, choice: Choice, seed: int) -> Indices:
    """[M] numbers of labeled images: `amount` of them in all, or that fraction.

    Args:
        labels: [N] class indices; images with a negative label are never chosen.
        amount: how many.
        choice: how.
        seed: of a random choice.

    Raises:
        DataError: there are too few, or a class has too few.
    """
    if choice == "stratified":
        fraction = isinstance(amount, float)
        return stratified_fraction(labels, amount, seed) if fraction else stratified_count(labels, int(amount), seed)
    known = np.flatnonzero(labels != UNKNOWN)
    count = round(amount * len(known)) if isinstance(amount, float) else amount
    if not 0 < count <= len(known):
        raise DataError(f"can't choose {amount} of {len(known):,} labeled image(s); choose from 1 to all of them")
    return known[:count]


def hold_out_of(labels: Indices, amount: Amount, choice: Choice, seed: int) -> Indices:
    """[M] numbers of images to hold out; arguments as of `choose`.

    Raises:
        DataError: as of `choose`, or a class would be left with none.
    """
    chosen = choose(labels, amount, choice, seed)
    emptied = np.setdiff1d(labels[labels >= 0], labels[rest(len(labels), chosen)])
    if len(emptied):
        raise DataError(f"holding out {amount} image(s) would leave none of class {emptied[0]}; hold out fewer")
    return chosen


def _unlabeled(source: Source, left: Reader) -> Reader | None:
    if source.extra is None:
        return left if len(left) else None
    return Chain(train=left, extra=source.extra) if len(left) else source.extra


TENTH, ENOUGH = 0.1, 4
"""What is held out by default, and labels of each class that it takes."""
CHUNK = 4096
"""Samples whose labels are read at once."""


def hold_out_split(labeled: Split, readable: Split, amount: Amount | None) -> tuple[Split, Split | None]:
    """What is left of a labeled split, and what is held out of it: of each class alike, always the same samples.

    Args:
        labeled: the split.
        readable: the same samples for reading their labels, around damaged ones.
        amount: how many samples are held out, or a fraction below 1. None: a tenth where each class has four or more,
            else nothing.

    Raises:
        DataError: a class has too few samples, or more samples are damaged than may be.
    """
    labels = np.concatenate(
        [readable.labels(range(start, min(start + CHUNK, len(readable)))) for start in range(0, len(readable), CHUNK)]
    )
    if amount is None and np.unique(labels[labels >= 0], return_counts=True)[1].min(initial=ENOUGH) < ENOUGH:
        return labeled, None
    held_out = hold_out_of(labels, TENTH if amount is None else amount, "stratified", seed=0)
    return ChosenSplit(labeled, rest(len(labeled), held_out)), ChosenSplit(labeled, held_out)
