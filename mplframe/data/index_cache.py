"""Shard indexes kept on disk, so that a shard is scanned once."""

from __future__ import annotations

import hashlib
import logging
import uuid
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from mplframe.data.index import ShardIndex, index_shard

_FORMAT = 1

log = logging.getLogger(__name__)


def cached_index(path: Path, cache: Path) -> ShardIndex:
    """The index of a shard, kept in `cache` until the shard's size or time of change differ.

    Raises:
        DataError: as `index_shard`.
    """
    found = path.stat()
    identity = repr((_FORMAT, str(path.absolute()), found.st_size, found.st_mtime_ns))
    kept = cache / "index" / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.npz"
    try:
        return _load(kept)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("the index %s is damaged (%s) and is made again", kept, error)
    index = index_shard(path)
    try:
        _save(index, kept)
    except OSError as error:
        log.warning("the index of %s can't be kept (%s); it will be made again in the next run", path, error)
    return index


def _load(path: Path) -> ShardIndex:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return ShardIndex(**{field.name: arrays[field.name] for field in fields(ShardIndex)})


def _save(index: ShardIndex, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            arrays: dict[str, Any] = {field.name: getattr(index, field.name) for field in fields(index)}
            np.savez(file, **arrays)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
