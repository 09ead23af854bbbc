"""Copies of remote shards on the local disk."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from mplframe.data.stores import RangesUnsupportedError, explained, is_local, open_store, read_range, retry
from mplframe.errors import DataError

CHUNK = 32 << 20
_VERSIONS = ("ETag", "etag", "blob_id", "md5Hash", "mtime", "LastModified", "Last-Modified", "last_modified", "created")


def cache_folder(given: str | None = None) -> Path:
    """Where copies and indexes lie: `given`, else `MPLFRAME_CACHE`, else `mplframe` in the XDG cache folder."""
    if given or os.environ.get("MPLFRAME_CACHE"):
        return Path(given or os.environ["MPLFRAME_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mplframe"


def local_copy(url: str, cache: Path, storage_options: Mapping[str, Any] | None = None) -> Path:
    """The file of a URL on the local disk: itself where it is local, else a complete copy under `cache`.

    A copy is named by URL, size and version (ETag or time of change), so that a changed shard is fetched anew and two
    shards of one basename never meet. Processes that ask at once wait for the one that copies.

    Raises:
        DataError: it doesn't exist, can't be read, or comes short.
        UserError: the store's driver is missing.
    """
    fs, path = open_store(url, storage_options)
    with explained(url):
        if is_local(fs):
            if not Path(path).is_file():
                raise FileNotFoundError(path)
            return Path(path)
        info = retry(lambda: fs.info(path), attempts=3)
        target = cache / "shards" / _name(url, info)
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.exists():
                _fetch(fs, path, info.get("size"), target)
    return target


def _name(url: str, info: Mapping[str, Any]) -> str:
    version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
    digest = hashlib.sha256(repr((url, info.get("size"), version)).encode()).hexdigest()[:24]
    return f"{digest}-{url.partition('?')[0].rpartition('/')[2][-80:]}"


def _fetch(fs: Any, path: str, size: int | None, target: Path) -> None:
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    try:
        try:
            if size is None:
                raise RangesUnsupportedError(path)
            _fetch_ranges(fs, path, size, part)
        except RangesUnsupportedError:
            retry(lambda: fs.get_file(path, str(part)))
        if size is not None and part.stat().st_size != size:
            raise DataError(f"{path}: the store says {size} bytes but {part.stat().st_size} came; try again")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _fetch_ranges(fs: Any, path: str, size: int, part: Path) -> None:
    with part.open("wb") as file:
        for start in range(0, size, CHUNK):
            file.write(read_range(fs, path, start, min(size, start + CHUNK)))
