"""The one shape that every layout on disk is brought into."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Record:
    """One image as it lies on disk.

    Attributes:
        key: its name within the reader: a relative path without its suffix, or a number.
        payload: an encoded image file as it is, or [H, W, C] uint8 pixels with 1 (grey) or 3 (RGB) channels.
        extension: of an encoded file, in lower case without the dot; `png` for pixels, which is how they are stored.
        label: the class index, or None where there is none.
    """

    key: str
    payload: bytes | Images
    extension: str
    label: int | None


class Reader(ABC):
    """An ordered, lazily read sequence of records."""

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
    def notes(self) -> Sequence[str]:
        """What the user should know about files that were left out."""
        return ()

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Record]:
        return (self.read(index) for index in range(len(self)))
