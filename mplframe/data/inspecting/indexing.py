"""Side-car indexes of shards that others have written: made, or checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mplframe.data.shards.access import Access, Storage
from mplframe.data.shards.index_files import sidecar_bytes, sidecar_url, write_whole
from mplframe.data.shards.listing import Shard, list_shards
from mplframe.io.output import writing
from mplframe.io.stores import uploading
from mplframe.io.threads import over_shards


@dataclass(frozen=True)
class IndexedShard:
    """A shard and the index beside it.

    Attributes:
        shard: its URL.
        state: the index `fits`, was `made`, or, where none was to be made, is `missing` (or of another shard).
        samples: in the shard.
        damaged: samples that aren't whole, or rests of the shard.
    """

    shard: str
    state: Literal["fits", "made", "missing"]
    samples: int
    damaged: int


def index_shards(urls: str | Sequence[str], storage: Storage, *, make: bool = True) -> list[IndexedShard]:
    """Read the table of contents of every shard, and see that `<shard>.idx` beside it says the same.

    Args:
        urls: of the shards; see `shard_list.expand`.
        storage: where they lie.
        make: write the index where there is none that fits.

    Raises:
        DataError: a shard is missing or ambiguous.
        UserError: a store can't be reached or written.
        RunError: the disk is full.
    """
    shards = list_shards(urls, storage.stores)
    access = Access(shards, storage.stores, storage.copies)
    return over_shards(lambda shard: _index(shard, storage, access, make), shards)


def _index(shard: Shard, storage: Storage, access: Access, make: bool) -> IndexedShard:
    content = access.of(shard)
    beside = storage.indexes.beside(shard, content)
    scanned = storage.indexes.scanned(shard, content)
    state: Literal["fits", "made", "missing"] = "fits"
    if beside is None or sidecar_bytes(beside) != sidecar_bytes(scanned):
        state = "made" if make else "missing"
        if make:
            _write(storage, sidecar_url(shard.url), sidecar_bytes(scanned))
    return IndexedShard(shard.url, state, len(scanned), len(scanned.damage))


def _write(storage: Storage, url: str, content: bytes) -> None:
    path = storage.stores.local_path(url)
    if path is not None:
        with writing(Path(path)):
            write_whole(Path(path), content)
        return
    fs, name = storage.stores.open(url)
    with uploading(url):
        fs.pipe_file(name, content)
