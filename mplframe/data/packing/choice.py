"""Which images of a data set are labeled, unlabeled or held out. Pure functions on arrays of labels."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mplframe.errors import DataError

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OrderSplit:
    """Numbers of images, each in ascending order.

    Attributes:
        labeled: [L] the labeled images.
        unlabeled: [U] the unlabeled ones.
        held_out: [V] those left for validation.
    """

    labeled: Indices
    unlabeled: Indices
    held_out: Indices


def stratified(labels: Indices, per_class: int, seed: int) -> Indices:
    """`per_class` randomly chosen images of each class that occurs.

    Args:
        labels: [N] class indices; images with a negative label are never chosen.
        per_class: how many of each class, at least 1.
        seed: of the choice.

    Returns:
        [classes * per_class] image numbers, ascending.

    Raises:
        DataError: a class has fewer.
    """
    if per_class < 1:
        raise DataError(f"can't choose {per_class} images of each class; at least 1 is needed")
    classes = _classes(labels)
    return _choose(labels, classes, np.full(len(classes), per_class), np.random.default_rng(seed))


def stratified_count(labels: Indices, count: int, seed: int) -> Indices:
    """`count` randomly chosen images, of each class as many as of any other, or one more.

    Args:
        labels: [N] class indices; images with a negative label are never chosen.
        count: how many in all; at least one for each class that occurs.
        seed: of the choice, and of which classes give one more where `count` isn't a multiple of their number.

    Returns:
        [count] image numbers, ascending.

    Raises:
        DataError: `count` is less than the number of classes, or a class has fewer than its share.
    """
    classes = _classes(labels)
    if count < len(classes):
        raise DataError(f"can't choose {count} images of {len(classes)} classes; at least one of each is needed")
    rng = np.random.default_rng(seed)
    shares = np.full(len(classes), count // len(classes))
    shares[rng.permutation(len(classes))[: count % len(classes)]] += 1
    return _choose(labels, classes, shares, rng)


def stratified_fraction(labels: Indices, fraction: float, seed: int) -> Indices:
    """The same fraction of each class, to the nearest image, and at least one of each.

    Args:
        labels: [N] class indices; images with a negative label are never chosen.
        fraction: above 0 and below 1.
        seed: of the choice.

    Returns:
        [M] image numbers, ascending.

    Raises:
        DataError: the fraction is out of range, or would take all images of a class.
    """
    if not 0 < fraction < 1:
        raise DataError(f"can't choose the fraction {fraction} of the images; it must be above 0 and below 1")
    classes = _classes(labels)
    sizes = np.bincount(labels[labels >= 0])[classes]
    shares = np.maximum(np.rint(sizes * fraction).astype(np.int64), 1)
    short = np.flatnonzero(shares >= sizes)
    if len(short):
        raise DataError(
            f"taking the fraction {fraction} would leave none of the {sizes[short[0]]} image(s) of class "
            f"{classes[short[0]]}; take less or add images"
        )
    return _choose(labels, classes, shares, np.random.default_rng(seed))


def rest(count: int, *taken: Indices) -> Indices:
    """The numbers below `count` that are in none of `taken`, ascending."""
    free = np.ones(count, dtype=bool)
    for indices in taken:
        free[indices] = False
    return np.flatnonzero(free)


def in_order(count: int, *, labeled: int, held_out: int = 0) -> OrderSplit:
    """The first `held_out` images held out, the next `labeled` labeled, all others unlabeled.

    Raises:
        DataError: there are no more than `held_out + labeled` images.
    """
    if count <= held_out + labeled:
        raise DataError(
            f"{count:,} images are too few to hold out {held_out:,} and label {labeled:,}; is the data set complete?"
        )
    numbers = np.arange(count, dtype=np.int64)
    stop = held_out + labeled
    return OrderSplit(labeled=numbers[held_out:stop], unlabeled=numbers[stop:], held_out=numbers[:held_out])


def cifar10_4k(train: int = 50_000, *, held_out: int = 5_000) -> OrderSplit:
    """CIFAR-10-4K: of the training images in download order, 5,000 held out, 4,000 labeled, 41,000 unlabeled.

    Source: MPL v4, appendix C.1. In v1 (appendix C.1) the first 4,000 are labeled: `held_out` is 0.

    Args:
        train: how many training images there are.
        held_out: how many come first and are left for validation.

    Raises:
        DataError: there aren't 50,000.
    """
    _expect(train, 50_000, "CIFAR-10-4K", "training images")
    return in_order(train, labeled=4_000, held_out=held_out)


def svhn_1k(train: int = 73_257, extra: int = 531_131) -> OrderSplit:
    """SVHN-1K: the first 1,000 training images labeled, all other training images and all extra ones unlabeled.

    Numbers run through the training file, then through the extra file. That is 603,388 unlabeled images, the "about
    603,000" of MPL v4, section 3.2, and the first 1,000 of MPL v1, appendix C.1. Appendix C.1 of v4 says "the same
    procedure" as for CIFAR-10, which holds 5,000 out first; the count leaves no room for that.

    Args:
        train: how many images the training file holds.
        extra: how many the extra file holds.

    Raises:
        DataError: it isn't the 73,257 and 531,131 of the official files.
    """
    _expect(train, 73_257, "SVHN-1K", "training images")
    _expect(extra, 531_131, "SVHN-1K", "extra images")
    return in_order(train + extra, labeled=1_000)


def imagenet(percent: int, train: int = 1_281_167, *, shards: int = 1_024, held_out: int = 20) -> OrderSplit:
    """ImageNet-N%: of 1,024 shards in order the first N % labeled, the last 20 held out for tuning, the rest unlabeled.

    Source: MPL v4, appendix C.1 (102 shards for 10 %, 204 for 20 %), which takes the shards of Inception's script.

    Args:
        percent: N.
        train: how many training images there are, in the order of their classes' and files' names.
        shards: how many they are in.
        held_out: how many of these are held out.

    Raises:
        DataError: there aren't 1,281,167 images, or N leaves nothing labeled or nothing unlabeled.
    """
    _expect(train, 1_281_167, "ImageNet", "training images")
    return by_shard(inception_shards(train, shards), shards * percent // 100, held_out)


def by_shard(shards: Sequence[Indices], labeled: int, held_out: int) -> OrderSplit:
    """The first shards labeled, the last ones held out, all others unlabeled.

    Raises:
        DataError: no shard is left for one of the first and the last use.
    """
    last = len(shards) - held_out
    if not 0 < labeled < last:
        raise DataError(f"{labeled} of {len(shards)} shards can't be labeled; at least 1 and less than {last} can")
    parts = (shards[:labeled], shards[labeled:last], shards[last:])
    return OrderSplit(*(np.sort(np.concatenate([*part, np.empty(0, np.int64)])) for part in parts))


def inception_shards(count: int, shards: int, *, threads: int = 8, seed: int = 12_345) -> list[Indices]:
    """The images of each shard, in the order of Inception's `build_imagenet_data`.

    All images are shuffled once, cut into a range for each of 8 threads, and each range into its share of the shards.
    The shuffle is that of Python 2, in which the script was written; the order in which it listed a class's files was
    its file system's, and here is that of their names. So shards are made as the paper's were, but need not be equal.

    Args:
        count: of images, at least one a shard.
        shards: a multiple of `threads`.
        threads: of the script.
        seed: of the shuffle.
    """
    rng, order = random.Random(seed), np.arange(count, dtype=np.int64)
    for last in range(count - 1, 0, -1):
        other = int(rng.random() * (last + 1))
        order[last], order[other] = order[other], order[last]
    ranges = np.linspace(0, count, threads + 1).astype(np.int64)
    cuts = [np.linspace(start, stop, shards // threads + 1).astype(np.int64) for start, stop in pairwise(ranges)]
    return [order[start:stop] for cut in cuts for start, stop in pairwise(cut)]


def _classes(labels: Indices) -> Indices:
    classes = np.unique(labels[labels >= 0])
    if not len(classes):
        raise DataError("nothing to choose from: no image has a label")
    return classes


def _choose(labels: Indices, classes: Indices, shares: npt.NDArray[np.int64], rng: np.random.Generator) -> Indices:
    chosen = []
    for number, share in zip(classes, shares, strict=True):
        members = np.flatnonzero(labels == number)
        if len(members) < share:
            raise DataError(f"can't choose {share} image(s) of class {number}: it has {len(members)}")
        chosen.append(rng.permutation(members)[:share])
    return np.sort(np.concatenate(chosen))


def _expect(found: int, needed: int, name: str, what: str) -> None:
    if found != needed:
        raise DataError(f"{name} is defined on {needed:,} {what}, there are {found:,}; is the download complete?")
