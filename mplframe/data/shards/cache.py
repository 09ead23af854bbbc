"""Copies of remote shards on the local disk: bounded, shared by processes, never torn."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from filelock import FileLock

from mplframe.data.shards.content import require_same
from mplframe.data.shards.listing import Shard
from mplframe.errors import FULL, RunError, UserError
from mplframe.io.stores import Stores
from mplframe.io.threads import over_ranges

CHUNK = 16 << 20
LOCKS = 1_024
ABANDONED = 3_600.0
"""Seconds after which a part that nobody writes to is taken for that of a killed process."""
_FRESH = 60.0
_PART = ".part"


@final
class ShardCache:
    """Whole shards, by URL, size and version; the least recently used go when room is needed.

    An open file outlives its removal, so processes need not agree on what is in use.

    Args:
        folder: where copies lie; it holds nothing else.
        bound: bytes that all copies together may take, those being fetched included.
        stores: where shards come from.
    """

    def __init__(self, folder: Path, bound: int, stores: Stores) -> None:
        self._folder, self.bound, self._stores = folder, bound, stores

    def open(self, shard: Shard) -> int:
        """A file descriptor of a shard's copy, which is fetched where there is none; whoever asks meanwhile waits.

        Raises:
            DataError: the shard was changed since it was listed.
            UserError: the folder can't be written.
            RunError: the disk is full.
            OSError: or what the store's driver raises.
        """
        basename = shard.url.partition("?")[0].rpartition("/")[2]
        target = self._folder / f"{shard.identity}-{basename[-80:]}"
        file = _kept(target, shard)
        if file is not None:
            return file
        with self._lock(f"{int(shard.identity, 16) % LOCKS:04d}"):
            file = _kept(target, shard)
            return self._fetch(shard, target) if file is None else file

    def _fetch(self, shard: Shard, target: Path) -> int:
        part = self._folder / f"{target.name}.{uuid.uuid4().hex}{_PART}"
        try:
            with self._explained():
                with self._lock("room"):
                    self._make_room(shard.size or 0)
                    with part.open("wb") as file:
                        file.truncate(shard.size or 0)  # counts from now on
                if shard.size is not None and self._stores.has_ranges(shard.url):
                    _fetch_ranges(self._stores, shard.url, shard.size, part)
                else:
                    self._stores.download(shard.url, part, shard.size)
            require_same(shard, self._stores.info(shard.url))
            copy = os.open(part, os.O_RDONLY)
            part.replace(target)
            return copy
        finally:
            part.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        now = time.time()
        copies, taken = [], size
        for entry in os.scandir(self._folder):
            found = _stat(entry)
            if found is None or entry.is_dir():
                continue
            if entry.name.endswith(_PART):
                if now - found.st_mtime > ABANDONED:
                    Path(entry).unlink(missing_ok=True)
                    continue
            else:
                copies.append((found.st_mtime, found.st_size, entry.path))
            taken += found.st_size
        for _, freed, path in sorted(copies):
            if taken <= self.bound:
                break
            Path(path).unlink(missing_ok=True)
            taken -= freed

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        folder = self._folder / "locks"
        with self._explained():
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / name)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Tells what the local disk refuses from what a store does."""
        try:
            yield
        except PermissionError as error:
            if error.filename is None or not str(error.filename).startswith(str(self._folder)):
                raise
            raise self._unwritable(error) from error
        except OSError as error:
            if error.errno in FULL:
                raise RunError(
                    f"the disk is full: no room for a copy in {self._folder}; make room, set data.cache or "
                    "MPLFRAME_CACHE to another folder, or lower data.cache_mb"
                ) from error
            if error.errno in (errno.EROFS, errno.ENOTDIR):
                raise self._unwritable(error) from error
            raise

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"{self._folder} can't be written ({error.strerror}): set data.cache or MPLFRAME_CACHE to a folder that "
            "can, or data.cache_mb to 0, which keeps no copies"
        )


def _kept(target: Path, shard: Shard) -> int | None:
    try:
        file = os.open(target, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    found = os.fstat(file)
    if shard.size not in (None, found.st_size):  # the machine went down before the disk had it all
        os.close(file)
        return None
    if time.time() - found.st_mtime > _FRESH:
        os.utime(file)
    return file


def _fetch_ranges(stores: Stores, url: str, size: int, part: Path) -> None:
    file = os.open(part, os.O_WRONLY)

    def fetch(start: int) -> None:
        data = memoryview(stores.read_range(url, start, min(size, start + CHUNK)))
        while data:
            written = os.pwrite(file, data, start)
            data, start = data[written:], start + written

    try:
        over_ranges(fetch, range(0, size, CHUNK))
    finally:
        os.close(file)


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except FileNotFoundError:  # another process has removed it
        return None
