"""The bytes of shards: read from files, or in ranges from their store."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, final

from mplframe.data.shards.listing import Shard
from mplframe.errors import DataError
from mplframe.io.stores import Info, Stores, explained
from mplframe.io.threads import over_ranges

Span = tuple[int, int]
"""Where a piece of a shard lies: offset and length, in bytes."""

LONGEST = 16 << 20
"""Bytes that are read in one piece at most, where no single member is longer."""


class Content(ABC):
    """What shards hold. Safe to use from many threads."""

    @abstractmethod
    def open(self, shard: Shard) -> AbstractContextManager[BinaryIO]:
        """A shard as a file that can be read and sought in.

        Raises:
            DataError: it is gone, or was changed since it was listed.
            StoreError: it can't be read.
        """

    @abstractmethod
    def read(self, shard: Shard, spans: Sequence[Span]) -> list[memoryview]:
        """Pieces of a shard, in this order; all of one version of it. Errors as of `open`."""


@final
class Files(Content):
    """Shards on the local disk.

    Args:
        open_file: a file descriptor of a shard, for reading.
    """

    def __init__(self, open_file: Callable[[Shard], int]) -> None:
        self._open_file = open_file

    @contextmanager
    def open(self, shard: Shard) -> Iterator[BinaryIO]:
        with explained(shard.url), os.fdopen(self._open_file(shard), "rb") as file:
            yield file

    def read(self, shard: Shard, spans: Sequence[Span]) -> list[memoryview]:
        with explained(shard.url):
            file = self._open_file(shard)
            try:
                found = runs(spans, gap=4 << 10)
                return pieces(spans, found, [_pread(file, run, shard) for run in found])
            finally:
                os.close(file)


@final
class Ranges(Content):
    """Shards in a store that gives ranges of bytes.

    Args:
        stores: where they lie.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @contextmanager
    def open(self, shard: Shard) -> Iterator[BinaryIO]:
        assert shard.size is not None
        with explained(shard.url), io.BufferedReader(_RangeFile(self._stores, shard.url, shard.size), 4 << 20) as file:
            yield file
            require_same(shard, self._stores.info(shard.url))

    def read(self, shard: Shard, spans: Sequence[Span]) -> list[memoryview]:
        found = runs(spans, gap=128 << 10)
        with explained(shard.url):
            contents = over_ranges(lambda run: self._stores.read_range(shard.url, run.start, run.end), found)
            require_same(shard, self._stores.info(shard.url))
        return pieces(spans, found, contents)


@dataclass
class Run:
    """Bytes that are read in one piece, and the numbers of the spans that lie in them."""

    start: int
    end: int
    spans: list[int]


def runs(spans: Sequence[Span], *, gap: int, longest: int = LONGEST) -> list[Run]:
    """Spans that lie no further apart than `gap` bytes, taken together up to `longest` bytes; ascending."""
    found: list[Run] = []
    for number in sorted(range(len(spans)), key=spans.__getitem__):
        offset, length = spans[number]
        end = offset + length
        last = found[-1] if found else None
        if last is not None and offset - last.end <= gap and end - last.start <= longest:
            last.end = max(last.end, end)
            last.spans.append(number)
        else:
            found.append(Run(offset, end, [number]))
    return found


def pieces(spans: Sequence[Span], found: Sequence[Run], contents: Sequence[bytes]) -> list[memoryview]:
    """What each span holds, cut from the content of each run."""
    cut = [memoryview(b"")] * len(spans)
    for run, content in zip(found, contents, strict=True):
        view = memoryview(content)
        for number in run.spans:
            offset, length = spans[number]
            cut[number] = view[offset - run.start : offset - run.start + length]
    return cut


def require_same(shard: Shard, now: Info) -> None:
    """Check that a shard is still what was listed.

    Raises:
        DataError: size or version differ.
    """
    if shard.size not in (None, now.size) or shard.version != now.version:
        raise DataError(
            f"{shard.url} was changed while it was in use: {shard.size} bytes ({shard.version or 'no version'}) when "
            f"it was listed, {now.size} bytes ({now.version or 'no version'}) now; start again"
        )


def open_local(stores: Stores, shard: Shard) -> int:
    """A file descriptor of a local shard.

    Raises:
        DataError: it is gone, or was changed since it was listed.
        OSError: from opening.
    """
    path = stores.local_path(shard.url)
    assert path is not None
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError as error:
        raise DataError(f"{shard.url} can't be read any more: {error.strerror}; start again") from error
    try:
        found = os.fstat(file)
        require_same(shard, Info(found.st_size, str(found.st_mtime_ns)))
    except BaseException:
        os.close(file)
        raise
    return file


def _pread(file: int, run: Run, shard: Shard) -> bytes:
    data = os.pread(file, run.end - run.start, run.start)
    if len(data) != run.end - run.start:
        raise DataError(f"{shard.url} was changed while it was in use: it ends before byte {run.end}; start again")
    return data


class _RangeFile(io.RawIOBase):
    def __init__(self, stores: Stores, url: str, size: int) -> None:
        self._stores, self._url, self._size, self._at = stores, url, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._size, self._at + len(buffer))
        data = self._stores.read_range(self._url, self._at, end) if self._at < end else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
