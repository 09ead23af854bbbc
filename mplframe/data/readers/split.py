"""Images as they lie on disk, read like a split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import Sample, Split
from mplframe.data.decode import decode
from mplframe.data.readers.base import Reader


@final
class ReaderSplit(Split):
    """A reader's images, decoded.

    Args:
        reader: where they come from.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def group_sizes(self) -> Sequence[int]:
        return [len(self._reader)]

    def read(self, indices: Sequence[int]) -> list[Sample]:
        return [self._sample(index) for index in indices]

    def _sample(self, index: int) -> Sample:
        record = self._reader.read(index)
        payload = record.payload
        image = decode(payload, f"{record.key}.{record.extension}") if isinstance(payload, bytes) else payload
        return Sample(record.key, image, UNKNOWN if record.label is None else record.label)
