"""Records into WebDataset shards whose bytes depend on the records and their order alone."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from webdataset import TarWriter

from mplframe.data.decode import decode
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


def write_shards(folder: Path, split: str, samples: Iterable[Members], limits: ShardLimits) -> list[Shard]:
    """Write `<split>-00000.tar` and so on.

    Args:
        folder: where to; it exists.
        split: the first part of file names.
        samples: as `encode` gives them.
        limits: when to begin the next shard.

    Raises:
        OSError: from writing.
    """
    shards: list[Shard] = []
    pending = iter(samples)
    members = next(pending, None)
    while members is not None:
        path = folder / f"{split}-{len(shards):05d}.tar"
        count = size = 0
        with _tar(path) as tar:
            while members is not None and (not count or _fits(count, size + _size(members), limits)):
                tar.write(members)
                count, size = count + 1, size + _size(members)
                members = next(pending, None)
        shards.append(Shard(path.name, count, path.stat().st_size))
    return shards


def encode(number: int, record: Record) -> Members:
    """A record as the files of a sample: the image, and `cls` with the class index where it has one.

    Args:
        number: unique in its split.
        record: an encoded image, which is kept as it is, or pixels, which become a PNG.

    Raises:
        DataError: the image is damaged.
    """
    payload = record.payload
    if isinstance(payload, bytes):
        decode(payload, f"{record.key}.{record.extension}")
    else:
        payload = encode_png(payload)
    label = {} if record.label is None else {"cls": str(record.label).encode()}
    return {"__key__": sample_key(number, record.key), record.extension: payload, **label}


def encode_png(image: Images) -> bytes:
    """[H, W, C] uint8 with 1 or 3 channels -> a PNG file, without loss."""
    with io.BytesIO() as stream:
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(stream, "png")
        return stream.getvalue()


def sample_key(number: int, key: str) -> str:
    """The name of a sample in its shard: its number, then what a tar and WebDataset can take of its own key."""
    return f"{number:08d}-{re.sub('[^A-Za-z0-9_-]+', '-', key)[-60:].strip('-')}"


def _fits(count: int, size: int, limits: ShardLimits) -> bool:
    return count < limits.max_count and size <= limits.max_bytes


def _size(members: Members) -> int:
    """Bytes in the tar: a header and padded content for each file."""
    return sum(_BLOCK + -(-len(data) // _BLOCK) * _BLOCK for name, data in members.items() if name != "__key__")


@contextmanager
def _tar(path: Path) -> Iterator[TarWriter]:
    with path.open("wb") as stream, TarWriter(stream, encoder=False, mtime=0, user="", group="", mode=0o444) as tar:
        yield tar
