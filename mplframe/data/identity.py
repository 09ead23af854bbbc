"""What a split holds, told by its content: which samples are copies of others, and whether it is the same as before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import UNKNOWN_LENGTH, Split
from mplframe.errors import DamageError

LOOKED_AT = 4096
"""Samples whose lengths are looked up at once."""
READ = 64
"""Samples whose content is in memory at once."""
WHOLE, SOME = 2048, 64
"""A fingerprint looks into every sample of up to so many, and of more into so many, evenly spaced."""

Numbers = npt.NDArray[np.int64]


def copies(split: Split, others: Sequence[Split]) -> Numbers:
    """Numbers of the samples whose content one of the other splits has too, ascending.

    Only samples that are as long as one of the others are read. Those that can't be read are no copies.

    Raises:
        DataError: nothing can be read.
    """
    digests, lengths = set[bytes](), set[int]()
    for other in others:
        for numbers in _chunks(len(other), LOOKED_AT):
            lengths.update(other.lengths(numbers))
            digests.update(digest for _, digest in _digests(other, numbers))
    found: list[int] = []
    for numbers in _chunks(len(split), LOOKED_AT):
        alike = numbers
        if UNKNOWN_LENGTH not in lengths:
            own = split.lengths(numbers)
            alike = [n for n, length in zip(numbers, own, strict=True) if length in lengths or length == UNKNOWN_LENGTH]
        found += [number for number, digest in _digests(split, alike) if digest in digests]
    return np.asarray(found, np.int64)


def fingerprint(split: Split, *, labels: bool) -> str:
    """What changes when samples, their order or their labels do: 16 hexadecimal digits.

    Of many samples it looks at how they lie in groups and into some of them, so that opening stays cheap.

    Args:
        split: whose.
        labels: whether they count.
    """
    count = len(split)
    numbers = list(range(count)) if count <= WHOLE else np.linspace(0, count - 1, SOME).astype(int).tolist()
    found = hashlib.sha256(repr(list(split.group_sizes)).encode())
    for start in range(0, len(numbers), READ):
        part = numbers[start : start + READ]
        content = dict(_digests(split, part))
        for number in part:
            label = _label(split, number) if labels else UNKNOWN
            found.update(repr((split.key(number), label, content.get(number))).encode())
    return found.hexdigest()[:16]


def _label(split: Split, number: int) -> int:
    try:
        return split.labels([number])[0]
    except DamageError:
        return UNKNOWN


def _digests(split: Split, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    for start in range(0, len(numbers), READ):
        part = numbers[start : start + READ]
        try:
            yield from zip(part, split.digests(part), strict=True)
        except DamageError:
            for number in part:
                try:
                    yield number, split.digests([number])[0]
                except DamageError:
                    continue


def _chunks(count: int, size: int) -> Iterator[list[int]]:
    for start in range(0, count, size):
        yield list(range(start, min(start + size, count)))
