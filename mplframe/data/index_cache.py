"""The index of each shard: kept from before, found beside the shard, or made by one scan."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import final

from mplframe.data.content import Content
from mplframe.data.index import ShardIndex, header_check, index_file, read_at
from mplframe.data.shard_list import Shard
from mplframe.data.sidecar import FORMAT, read_sidecar, sidecar_bytes, write_whole
from mplframe.stores.stores import Stores, explained

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
