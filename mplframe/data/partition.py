"""What becomes labeled, unlabeled and test: from readers of whole data sets to readers of the three splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mplframe.contracts.batch import UNKNOWN
from mplframe.data.readers.base import Reader
from mplframe.data.readers.detect import Source
from mplframe.data.readers.views import Chain, Subset
from mplframe.data.splits import Indices, cifar10_4k, rest, stratified_count, stratified_fraction, svhn_1k
from mplframe.errors import DataError, UserError

PaperSplit = Literal["cifar10-4k", "svhn-1k"]
Amount = int | float


@dataclass(frozen=True)
class Parts:
    """The three splits; None where there is none."""

    labeled: Reader | None = None
    unlabeled: Reader | None = None
    test: Reader | None = None


def paper_split(source: Source, name: PaperSplit) -> Parts:
    """A split that the papers report on; see `splits.cifar10_4k` and `splits.svhn_1k`.

    Raises:
        UserError: the source is another data set.
        DataError: it isn't complete.
    """
    needed = {"cifar10-4k": "cifar10", "svhn-1k": "svhn"}.get(name)
    if needed is None:
        raise UserError(f"unknown split {name!r} (allowed: cifar10-4k, svhn-1k)")
    if source.format != needed:
        raise UserError(f"the split {name} is of {needed}, the source is {source.format}; name the folder of {needed}")
    everything: Reader = source.train
    if name == "cifar10-4k":
        split = cifar10_4k(len(source.train))
    else:
        if source.extra is None:
            raise DataError("the split svhn-1k needs extra_32x32.mat beside train_32x32.mat")
        everything = Chain(train=source.train, extra=source.extra)
        split = svhn_1k(len(source.train), len(source.extra))
    return Parts(Subset(everything, split.labeled), Subset(everything, split.unlabeled), source.test)


def divide(source: Source, *, labeled: int | None, test: Amount | None, seed: int) -> Parts:
    """Divide a source at random, each class alike.

    Args:
        source: what is divided. Images without a label and SVHN's extra images become unlabeled.
        labeled: how many training images stay labeled, the rest becoming unlabeled; None keeps all labels.
        test: how many training images are held out, or which fraction; None takes the source's own test images.
        seed: of the choices. The test images don't depend on how many are labeled.

    Raises:
        UserError: `test` is given though the source has test images of its own.
        DataError: a class has too few images.
    """
    if test is not None and source.test is not None:
        raise UserError(
            f"this {source.format} data set has {len(source.test):,} test images of its own; leave `test` unset"
        )
    held_out = np.empty(0, dtype=np.int64) if test is None else choose(source.train, test, seed)
    left = source.train.labels.copy()
    left[held_out] = UNKNOWN
    chosen = np.flatnonzero(left != UNKNOWN) if labeled is None else stratified_count(left, labeled, seed)
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
    chosen = choose(reader, amount, seed)
    return Subset(reader, rest(len(reader), chosen)), Subset(reader, chosen)


def choose(reader: Reader, amount: Amount, seed: int) -> Indices:
    """[M] numbers of images to hold out: a count shared equally by the classes, or a fraction of each class.

    Raises:
        DataError: a class has too few images, or would be left with none.
    """
    labels = reader.labels
    if isinstance(amount, float):
        return stratified_fraction(labels, amount, seed)
    chosen = stratified_count(labels, amount, seed)
    emptied = np.setdiff1d(labels[labels >= 0], labels[rest(len(labels), chosen)])
    if len(emptied):
        raise DataError(f"holding out {amount} image(s) would leave none of class {emptied[0]}; hold out fewer")
    return chosen


def _unlabeled(source: Source, left: Reader) -> Reader | None:
    if source.extra is None:
        return left if len(left) else None
    return Chain(train=left, extra=source.extra) if len(left) else source.extra
