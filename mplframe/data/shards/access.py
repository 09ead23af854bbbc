"""How the bytes of a shard are reached: in place, from a bounded copy, in ranges."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from heapq import nlargest
from pathlib import Path
from typing import final

from mplframe.data.shards.cache import ShardCache
from mplframe.data.shards.content import Content, Files, Ranges, open_local
from mplframe.data.shards.index_files import Indexes
from mplframe.data.shards.listing import Shard
from mplframe.errors import UserError
from mplframe.io.stores import Stores, explained
from mplframe.io.threads import in_the_background

TOGETHER = 16
"""Shards that training order shuffles together, and so reads at once."""

log = logging.getLogger(__name__)


@final
class Access:
    """Local shards are read in place; remote ones from whole copies where the cache can hold what is read at once, else
    in ranges.

    Args:
        shards: of one split.
        stores: where they lie.
        cache: holds copies; None where none are kept.
    """

    def __init__(self, shards: Sequence[Shard], stores: Stores, cache: ShardCache | None) -> None:
        self._stores = stores
        self._local = Files(partial(open_local, stores))
        self._ranges = Ranges(stores)
        self._cache = cache
        self._copies = None if cache is None else Files(cache.open)
        self._bound = 0 if cache is None else cache.bound
        # The labeled and the unlabeled stream are read at once, and each is fetched ahead.
        self._needed = 4 * sum(nlargest(TOGETHER, (shard.size or 0 for shard in shards)))
        self._roomy = self._needed <= self._bound
        self._warned = False

    def is_local(self, shard: Shard) -> bool:
        """Whether a shard is read in place."""
        return self._stores.local_path(shard.url) is not None

    def of(self, shard: Shard) -> Content:
        """How a shard is read.

        Raises:
            UserError: it comes only whole, and the cache has no room for it.
            DataError, StoreError: the store can't be reached.
        """
        with explained(shard.url):
            if self.is_local(shard):
                return self._local
            ranged = shard.size is not None and self._stores.has_ranges(shard.url)
        if ranged and (self._copies is None or not self._roomy):
            return self._ranges
        if self._copies is None or (shard.size or 0) > self._bound:
            raise UserError(
                f"{shard.url} comes only as a whole, because data.reader is sequential or its store gives no ranges of "
                f"bytes, and the local cache has no room for it: set data.cache_mb to at least {self._least_mb:,}"
            )
        if not (self._roomy or self._warned):
            self._warned = True
            log.warning(
                "the local cache can't hold the shards that are read at once, which will be fetched again and again: "
                "set data.cache_mb to at least %d", self._least_mb,
            )  # fmt: skip
        return self._copies

    def fetch_ahead(self, shards: Sequence[Shard]) -> None:
        """Begin to fetch copies of shards that will be read before long, where copies are what is read from."""
        for shard in shards if self._cache is not None and self._roomy else ():
            if not self.is_local(shard):
                in_the_background(partial(self._copied, shard))

    def _copied(self, shard: Shard) -> None:
        assert self._cache is not None
        os.close(self._cache.open(shard))

    @property
    def _least_mb(self) -> int:
        return -(-self._needed >> 20) or 1


@dataclass(frozen=True)
class Storage:
    """Where shards lie, and what of them is kept.

    Attributes:
        stores: requests to the stores.
        folder: what is kept on the local disk.
        copies: of whole shards; None where none are kept.
        indexes: of shards.
    """

    stores: Stores
    folder: Path
    copies: ShardCache | None
    indexes: Indexes

    @classmethod
    def of(cls, stores: Stores, folder: Path, cache_bytes: int) -> Storage:
        """Keeps copies of up to `cache_bytes` in all."""
        copies = ShardCache(folder / "shards", cache_bytes, stores) if cache_bytes else None
        return cls(stores, folder, copies, Indexes(folder, stores))
