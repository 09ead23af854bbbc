"""The one shape that every layout on disk is brought into."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

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
    """

    key: str
    payload: bytes | Images
    extension: str
    label: int | None
    others: Mapping[str, bytes] = field(default_factory=dict)


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
