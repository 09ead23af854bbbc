"""Readers of labeled and unlabeled images in foreign layouts, and views of them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from mplframe.contracts.batch import UNKNOWN
from mplframe.errors import DataError

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Record:
    """One image or video as it lies on disk.

    Attributes:
        key: its name within the reader: a relative path without its suffix, or a number.
        payload: an encoded image or video file as it is, or [H, W, C] uint8 pixels with 1 (grey) or 3 (RGB) channels.
        extension: of an encoded file, in lower case without the dot; `png` for pixels, which is how they are stored.
        label: the class index, or None where there is none.
        others: content of the files that belong to the image, by extension; never its label.
        source: path of the file below its folder, as it stands there; empty where it isn't a file.
    """

    key: str
    payload: bytes | Images
    extension: str
    label: int | None
    others: Mapping[str, bytes] = field(default_factory=dict)
    source: str = ""


class Reader(ABC):
    """An ordered, lazily read sequence of records; `read` may be called by several threads."""

    @property
    @abstractmethod
    def classes(self) -> Sequence[str]:
        """Class names in index order; empty where nothing is labeled."""

    @property
    @abstractmethod
    def labels(self) -> Labels:
        """[N] class indices, `UNKNOWN` (-1) where there is none. Known without reading an image."""

    @abstractmethod
    def read(self, index: int) -> Record:
        """The record with this number.

        Raises:
            DataError: it can't be read; names the file.
        """

    @property
    @abstractmethod
    def digest(self) -> str:
        """What differs where images or labels do. Files may be told by name, size and time of change."""

    @property
    def groups(self) -> Labels | None:
        """[N] the group of each record, from 0, where those of one group are best read together; else None."""
        return None

    def origin(self, index: int) -> tuple[str, str]:
        """The shard that a record lies in, or an empty text where it lies in none, and its key there."""
        return "", self.read(index).key

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know about files that were left out."""
        return ()

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Record]:
        return (self.read(index) for index in range(len(self)))


def digest(*parts: str | bytes | npt.NDArray[Any]) -> str:
    """A digest of texts, bytes and arrays, in this order."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else _bytes(part)
        found.update(len(data).to_bytes(8, "little"))
        found.update(data)
    return found.hexdigest()


def _bytes(part: str | npt.NDArray[Any]) -> bytes:
    return part.encode(errors="surrogateescape") if isinstance(part, str) else part.tobytes()


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
    def digest(self) -> str:
        return digest(self._reader.digest, self._indices)

    @property
    def groups(self) -> Labels | None:
        groups = self._reader.groups
        return None if groups is None else np.unique(groups[self._indices], return_inverse=True)[1]

    @property
    def notes(self) -> Sequence[str]:
        return self._reader.notes

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, index: int) -> Record:
        return self._reader.read(int(self._indices[index]))

    def origin(self, index: int) -> tuple[str, str]:
        return self._reader.origin(int(self._indices[index]))


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
    def digest(self) -> str:
        return digest(*self._names, *(reader.digest for reader in self._readers))

    @property
    def groups(self) -> Labels | None:
        found = [reader.groups for reader in self._readers]
        if all(groups is None for groups in found):
            return None
        # What needs no groups counts as one.
        parts = [np.zeros(len(r), np.int64) if g is None else g for r, g in zip(self._readers, found, strict=True)]
        starts = np.cumsum([0, *(int(part.max(initial=-1)) + 1 for part in parts)])
        return np.concatenate([part + start for part, start in zip(parts, starts, strict=False)])

    @property
    def notes(self) -> Sequence[str]:
        return [note for reader in self._readers for note in reader.notes]

    def read(self, index: int) -> Record:
        part, number = self._place(index)
        record = self._readers[part].read(number)
        return replace(record, key=f"{self._names[part]}/{record.key}")

    def origin(self, index: int) -> tuple[str, str]:
        part, number = self._place(index)
        return self._readers[part].origin(number)

    def _place(self, index: int) -> tuple[int, int]:
        part = int(np.searchsorted(self._ends, index, side="right"))
        return part, index - (int(self._ends[part - 1]) if part else 0)


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
    def digest(self) -> str:
        return digest("without labels", self._reader.digest)

    @property
    def groups(self) -> Labels | None:
        return self._reader.groups

    @property
    def notes(self) -> Sequence[str]:
        return self._reader.notes

    def __len__(self) -> int:
        return len(self._reader)

    def read(self, index: int) -> Record:
        return replace(self._reader.read(index), label=None)

    def origin(self, index: int) -> tuple[str, str]:
        return self._reader.origin(index)


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
