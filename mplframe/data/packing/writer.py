"""Records into WebDataset shards whose bytes depend on the records and their order alone."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

from PIL import Image
from webdataset import TarWriter

from mplframe.data.decoding.media import decode_file
from mplframe.data.readers.base import Images, Record
from mplframe.errors import UserError

Members = Mapping[str, str | bytes]
"""What webdataset's writer takes: `__key__`, and the content of each file by its extension."""

_BLOCK = 512
"""Bytes that everything in a tar is padded to."""


@dataclass(frozen=True)
class ShardLimits:
    """When a shard is full.

    Attributes:
        max_count: samples.
        max_bytes: bytes of the tar, about; a single larger sample still gets a shard.
    """

    max_count: int = 10_000
    max_bytes: int = 256 * 2**20

    def __post_init__(self) -> None:
        if self.max_count < 1 or self.max_bytes < 1:
            raise UserError(f"a shard must take at least one sample and one byte, got {self}")


@dataclass(frozen=True)
class Shard:
    """A written shard: its file name, how many samples it holds, and its size in bytes."""

    file: str
    samples: int
    bytes: int


@final
class ShardWriter:
    """Writes `<split>-00000.tar` and so on; a shard has its name when it is complete. Leave it through `with`.

    Args:
        folder: where to; it exists.
        split: the first part of file names.
        limits: when to begin the next shard.
        number: of the first shard.

    Raises:
        OSError: from writing.
    """

    def __init__(self, folder: Path, split: str, limits: ShardLimits, number: int = 0) -> None:
        self._folder, self._split, self._limits, self._number = folder, split, limits, number
        self._open: _OpenShard | None = None

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._open is not None:
            self._open.close()

    def write(self, members: Members) -> Shard | None:
        """Add a sample, as `encode` gives it.

        Returns:
            The shard that had no room for it and is complete now, if there was one.
        """
        complete = None
        if self._open is not None and not self._open.fits(members, self._limits):
            complete = self.finish()
        if self._open is None:
            self._open = _OpenShard(self._folder / f"{self._split}-{self._number:05d}.tar")
        self._open.write(members)
        return complete

    def finish(self) -> Shard | None:
        """Complete the last shard and return it; None where no sample has been written since the one before."""
        if self._open is None:
            return None
        shard = self._open.complete()
        self._open, self._number = None, self._number + 1
        return shard


@final
class _OpenShard:
    """A shard that samples are being added to."""

    def __init__(self, path: Path) -> None:
        self._path, self._part = path, path.with_suffix(".part")
        self._count = self._size = 0
        self._stream = self._part.open("wb")
        self._tar = TarWriter(self._stream, encoder=False, mtime=0, user="", group="", mode=0o444)

    def fits(self, members: Members, limits: ShardLimits) -> bool:
        return self._count < limits.max_count and self._size + _size(members) <= limits.max_bytes

    def write(self, members: Members) -> None:
        self._tar.write(members)
        self._count, self._size = self._count + 1, self._size + _size(members)

    def complete(self) -> Shard:
        self._tar.close()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._part.replace(self._path)
        return Shard(self._path.name, self._count, self._path.stat().st_size)

    def close(self) -> None:
        # Behind a write that failed, closing fails for the same reason.
        with self._stream, suppress(OSError):
            self._tar.close()


def encode(number: int, record: Record) -> Members:
    """A record as the files of a sample: image or video, what else it has, and `cls` with the class index if any.

    Args:
        number: unique in its split.
        record: an encoded image or video, which is kept as it is, or pixels, which become a PNG.

    Raises:
        DataError: it is damaged.
    """
    payload = record.payload
    if isinstance(payload, bytes):
        decode_file(record.extension, payload, f"{record.key}.{record.extension}")
    else:
        payload = encode_png(payload)
    label = {} if record.label is None else {"cls": str(record.label).encode()}
    return {"__key__": sample_key(number, record.key), record.extension: payload, **record.others, **label}


def encode_png(image: Images) -> bytes:
    """[H, W, C] uint8 with 1 or 3 channels -> a PNG file, without loss."""
    with io.BytesIO() as stream:
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(stream, "png")
        return stream.getvalue()


def sample_key(number: int, key: str) -> str:
    """The name of a sample in its shard: its number, then what a tar and WebDataset can take of its own key."""
    return f"{number:08d}-{re.sub('[^A-Za-z0-9_-]+', '-', key)[-60:].strip('-')}"


def _size(members: Members) -> int:
    """Bytes in the tar: a header and padded content for each file."""
    return sum(_BLOCK + -(-len(data) // _BLOCK) * _BLOCK for name, data in members.items() if name != "__key__")
