"""Readers made of other readers: a part of one, several in a row, one without its labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import numpy.typing as npt

from mplframe.contracts.batch import UNKNOWN
from mplframe.data.readers.base import Labels, Reader, Record
from mplframe.errors import DataError


@final
class Subset(Reader):
    """Some records of a reader, in the order given.

    Args:
        reader: where they come from.
        indices: [M] their numbers there.
    """

    def __init__(self, reader: Reader, indices: npt.NDArray[np.int64]) -> None:
        self._reader = reader
        self._indices = indices

    @property
    def classes(self) -> Sequence[str]:
        return self._reader.classes

    @property
    def labels(self) -> Labels:
        return self._reader.labels[self._indices]

    @property
    def notes(self) -> Sequence[str]:
        return self._reader.notes

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, index: int) -> Record:
        return self._reader.read(int(self._indices[index]))


@final
class Chain(Reader):
    """Readers of the same classes, one after the other; keys get the reader's name as prefix.

    Args:
        parts: readers by name.

    Raises:
        DataError: their classes differ.
    """

    def __init__(self, **parts: Reader) -> None:
        self._names = tuple(parts)
        self._readers = tuple(parts.values())
        self._ends = np.cumsum([len(reader) for reader in self._readers])
        self._labels = np.concatenate([reader.labels for reader in self._readers])
        for name, reader in parts.items():
            same_classes(self._names[0], self._readers[0], name, reader)

    @property
    def classes(self) -> Sequence[str]:
        return next((reader.classes for reader in self._readers if reader.classes), ())

    @property
    def labels(self) -> Labels:
        return self._labels

    @property
    def notes(self) -> Sequence[str]:
        return [note for reader in self._readers for note in reader.notes]

    def read(self, index: int) -> Record:
        part = int(np.searchsorted(self._ends, index, side="right"))
        start = 0 if part == 0 else int(self._ends[part - 1])
        record = self._readers[part].read(index - start)
        return Record(f"{self._names[part]}/{record.key}", record.payload, record.extension, record.label)


@final
class WithoutLabels(Reader):
    """The records of a reader with their labels taken away."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def classes(self) -> Sequence[str]:
        return ()

    @property
    def labels(self) -> Labels:
        return np.full(len(self._reader), UNKNOWN, dtype=np.int64)

    @property
    def notes(self) -> Sequence[str]:
        return self._reader.notes

    def __len__(self) -> int:
        return len(self._reader)

    def read(self, index: int) -> Record:
        record = self._reader.read(index)
        return Record(record.key, record.payload, record.extension, None)


def same_classes(name: str, reader: Reader, other_name: str, other: Reader) -> None:
    """Check that two readers mean the same by a label; one without classes goes with any.

    Raises:
        DataError: names a class that one has and the other hasn't, or says that their order differs.
    """
    a, b = list(reader.classes), list(other.classes)
    if not a or not b or a == b:
        return
    only = sorted(set(a) ^ set(b))
    if not only:
        raise DataError(f"{name} and {other_name} list the same classes in different orders: {a[:5]} and {b[:5]}")
    holder, lacking = (name, other_name) if only[0] in a else (other_name, name)
    raise DataError(
        f"{name} has {len(a)} classes and {other_name} {len(b)}: {only[0]!r} is in {holder} and not in {lacking}"
    )
