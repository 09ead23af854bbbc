"""Everything between URLs and the bytes of shards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mplframe.data.index_cache import Indexes
from mplframe.data.shard_cache import ShardCache
from mplframe.stores.stores import Stores


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
