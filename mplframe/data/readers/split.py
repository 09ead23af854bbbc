"""Images and videos as they lie on disk, read like a split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import Clips, Media, Sample, Split
from mplframe.data.decoding.media import decode_file
from mplframe.data.decoding.video import VIDEO_EXTENSIONS, decode_clips
from mplframe.data.readers.base import Reader, Record
from mplframe.errors import DamageError


@final
class ReaderSplit(Split):
    """A reader's images or videos, decoded.

    The key of a file is its path below the folder, as it stands there: `a.JPG` isn't `a.png`.

    Args:
        reader: where they come from.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def group_sizes(self) -> Sequence[int]:
        return [len(self._reader)]

    @property
    def media(self) -> frozenset[Media]:
        """What the first record is."""
        first = self._reader.read(0).extension if len(self._reader) else ""
        return frozenset({"video" if first in VIDEO_EXTENSIONS else "image"})

    def read(self, indices: Sequence[int]) -> list[Sample]:
        return [self._sample(self._reader.read(index)) for index in indices]

    def labels(self, indices: Sequence[int]) -> list[int]:
        return [_label(self._reader.read(index)) for index in indices]

    def read_clips(self, indices: Sequence[int], clips: Sequence[Clips]) -> list[Sample]:
        return [self._clips(self._reader.read(index), wanted) for index, wanted in zip(indices, clips, strict=True)]

    def _sample(self, record: Record) -> Sample:
        payload = record.payload
        image = decode_file(record.extension, payload, _name(record)) if isinstance(payload, bytes) else payload
        return Sample(_name(record), image, _label(record))

    def _clips(self, record: Record, clips: Clips) -> Sample:
        if record.extension not in VIDEO_EXTENSIONS or not isinstance(record.payload, bytes):
            raise DamageError(f"{_name(record)}: it is an image, and clips of videos are asked for")
        frames = decode_clips(record.payload, _name(record), clips)
        return Sample(_name(record), frames, _label(record))


def _label(record: Record) -> int:
    return UNKNOWN if record.label is None else record.label


def _name(record: Record) -> str:
    if record.source:
        return record.source
    return f"{record.key}.{record.extension}" if isinstance(record.payload, bytes) else record.key
