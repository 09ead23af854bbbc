"""Indexes kept beside a shard or in the local cache.

The format is NumPy's npz, compressed, with four arrays:

- `meta`: uint8, UTF-8 JSON: `format` (1), `size` of the shard in bytes, `check` (CRC-32 of the headers of its first,
  middle and last member, see `index.header_check`), `extensions` (a list), `damage` (a list of [key, reason]);
- `keys`: uint8, UTF-8 of all keys, one behind the other;
- `samples`: int64 [2, N], of each sample the length of its key in bytes, and how many members it has;
- `members`: int64 [3, M], of each member the number of its extension, the bytes between the content of the member
  before it (or the start of the shard) and its own, and the length of its content in bytes.
"""

from __future__ import annotations

import io
import json
import logging
import uuid
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import final

import numpy as np

from mplframe.data.shards.content import Content
from mplframe.data.shards.index import ShardIndex, header_check, index_file, index_shard, read_at
from mplframe.data.shards.listing import Shard
from mplframe.io.stores import Stores, explained

FORMAT = 1


def write_index(shard: Path) -> Path:
    """Index a local shard and write its side-car.

    Returns:
        The side-car, `<shard>.idx`.

    Raises:
        DataError: the shard can't be used; see `index_file`.
        OSError: from writing.
    """
    target = shard.with_name(f"{shard.name}.idx")
    write_whole(target, sidecar_bytes(index_shard(shard)))
    return target


def sidecar_bytes(index: ShardIndex) -> bytes:
    """The content of a side-car; the same for equal indexes."""
    facts = {"size": index.size, "check": index.check, "extensions": index.extensions, "damage": index.damage}
    meta = json.dumps({"format": FORMAT, **facts}).encode()
    ends = index.offset + index.length
    before = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    with io.BytesIO() as file:
        np.savez_compressed(
            file,
            meta=np.frombuffer(meta, np.uint8),
            keys=index.keys,
            samples=np.stack([np.diff(index.key_ends, prepend=0), np.diff(index.first)]),
            members=np.stack([index.extension, index.offset - before, index.length]).astype(np.int64),
        )
        return file.getvalue()


def read_sidecar(content: bytes) -> ShardIndex:
    """The index that a side-car holds.

    Raises:
        ValueError: it isn't a side-car, or is damaged.
    """
    if content[:2] != b"PK":  # of a zip file, which npz is
        raise ValueError("it isn't an index of mplframe")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            meta = json.loads(file["meta"].tobytes())
            keys, (key_lengths, counts), (extension, gaps, lengths) = (file[n] for n in ("keys", "samples", "members"))
        if meta["format"] != FORMAT:
            raise ValueError(f"its format is {meta['format']}, not {FORMAT}")
        index = ShardIndex(
            size=int(meta["size"]),
            check=int(meta["check"]),
            damage=tuple((str(key), str(reason)) for key, reason in meta["damage"]),
            keys=keys,
            key_ends=np.cumsum(key_lengths),
            extensions=tuple(meta["extensions"]),
            first=np.cumsum(np.concatenate([[0], counts])),
            extension=extension.astype(np.uint16),
            offset=np.cumsum(gaps + lengths) - lengths,
            length=lengths.copy(),
        )
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"it isn't an index of mplframe, or is damaged ({error})") from error
    _check(index)
    return index


def write_whole(target: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all.

    Raises:
        OSError: from writing.
    """
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    try:
        part.write_bytes(content)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _check(index: ShardIndex) -> None:
    """Every place that the index names must lie within the shard, and every number within its array."""
    samples, members = len(index), len(index.offset)
    fits = int(index.first[-1]) == members and (not samples or int(index.key_ends[-1]) == len(index.keys))
    fits = fits and bool((np.diff(index.first) > 0).all() and (np.diff(index.key_ends, prepend=0) > 0).all())
    if fits and members:
        ends = index.offset + index.length
        fits = int(index.extension.max()) < len(index.extensions) and int(index.length.min()) >= 0
        fits = fits and int(index.offset.min()) >= 0 and int(ends.max()) <= index.size
    if not fits:
        raise ValueError("its numbers contradict each other")


log = logging.getLogger(__name__)


@final
class Indexes:
    """Indexes of shards, each made once and kept in a folder under URL, size and version of its shard.

    Args:
        cache: indexes lie in its subfolder `index`.
        stores: where the side-cars lie.
    """

    def __init__(self, cache: Path, stores: Stores) -> None:
        self._folder, self._stores = cache / "index", stores

    def get(self, shard: Shard, content: Content) -> ShardIndex:
        """The index of a shard.

        Args:
            shard: as it was listed.
            content: where it is read where no index is at hand.

        Raises:
            DataError: the shard is ambiguous (see `index_file`) or was changed since it was listed.
            StoreError: it can't be read.
        """
        kept = self._folder / f"{shard.identity}-{FORMAT}.idx"
        index = self._kept(kept)
        if index is not None:
            return index
        index = self.beside(shard, content)
        if index is not None and self._stores.local_path(shard.url) is not None:
            return index
        found = self.scanned(shard, content) if index is None else index
        self._keep(kept, found, shard)
        return found

    def beside(self, shard: Shard, content: Content) -> ShardIndex | None:
        """The index in the side-car, where there is one that fits."""
        url = sidecar_url(shard.url)
        try:
            index = read_sidecar(self._stores.read(url))
        except ValueError as error:
            log.warning("%s isn't used: %s; make it again", url, error)
            return None
        except Exception as error:  # not every store says plainly that there is no such file
            log.debug("no index at %s: %s", url, error)
            return None
        if (index.size == shard.size or shard.size is None) and self._fits(shard, index, content):
            return index
        log.warning("%s isn't used: it was made of another shard than %s is now; make it again", url, shard.url)
        return None

    def scanned(self, shard: Shard, content: Content) -> ShardIndex:
        """The index by a fresh scan; arguments and errors as of `get`."""
        with explained(shard.url), content.open(shard) as file:
            return index_file(file, shard.url)

    def _fits(self, shard: Shard, index: ShardIndex, content: Content) -> bool:
        """Whether the shard has the headers that the index was made of."""
        with explained(shard.url):
            if self._stores.has_ranges(shard.url):
                return header_check(partial(self._stores.read_range, shard.url), index.offset) == index.check
            with content.open(shard) as file:
                return header_check(partial(read_at, file), index.offset) == index.check

    def _kept(self, path: Path) -> ShardIndex | None:
        try:
            return read_sidecar(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("the index %s is damaged (%s) and is made again", path, error)
            return None

    def _keep(self, path: Path, index: ShardIndex, shard: Shard) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, sidecar_bytes(index))
        except OSError as error:
            log.warning("the index of %s can't be kept (%s); it will be made again", shard.url, error)


def sidecar_url(url: str) -> str:
    """Where the side-car of a shard lies: `.idx` comes behind the shard's name, before any query."""
    first, chained, rest = url.partition("::")
    if chained and "://" not in first:
        return f"{first}::{sidecar_url(rest)}"
    name, query, values = first.partition("?") if first.startswith("http") else (first, "", "")
    return f"{name}.idx{query}{values}{chained}{rest}"
