"""The files of samples in shards, as they lie there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mplframe.data.access import Access
from mplframe.data.content import Span
from mplframe.data.local import cache_folder
from mplframe.data.media import SAMPLE_EXTENSIONS
from mplframe.data.parallel import over_shards
from mplframe.data.readers.base import Record
from mplframe.data.readers.files import STORES
from mplframe.data.shard_list import list_shards
from mplframe.data.sidecar import sidecar_bytes
from mplframe.data.storage import Storage
from mplframe.errors import DataError

CACHE_BYTES = 64 << 30
"""Of copies of remote shards; the least recently used go first."""


class ShardFiles:
    """Shards that are open; may be used by several threads.

    Args:
        urls: of the shards; see `shard_list.expand`.

    Attributes:
        shards: in order.
        indexes: of each.

    Raises:
        DataError: a shard is missing or ambiguous.
        UserError: a store can't be reached.
    """

    def __init__(self, urls: str | Sequence[str]) -> None:
        self.shards = list_shards(urls, STORES)
        storage = Storage.of(STORES, cache_folder(), CACHE_BYTES)
        self._access = Access(self.shards, STORES, storage.copies)
        self.indexes = over_shards(lambda shard: storage.indexes.get(shard, self._access.of(shard)), self.shards)

    @property
    def identity(self) -> list[str | bytes]:
        """What differs where a shard does."""
        places = [text for shard in self.shards for text in (shard.url, shard.version, str(shard.size))]
        return [*places, *map(sidecar_bytes, self.indexes)]

    def read(self, shard: int, spans: Sequence[Span]) -> list[memoryview]:
        """Pieces of the shard with this number.

        Raises:
            DataError: it was changed since it was opened.
            StoreError: it can't be read.
        """
        return self._access.of(self.shards[shard]).read(self.shards[shard], spans)

    def record(self, shard: int, sample: int, label: int | None) -> Record:
        """A sample by its shard and its number in the shard's index, with this label in place of its own.

        Raises:
            DataError: it has no image and no video, or as of `read`.
        """
        index = self.indexes[shard]
        key, members = index.key(sample), index.members(sample)
        extension = next((name for name in SAMPLE_EXTENSIONS if name in members), None)
        if extension is None:
            raise DataError(
                f"sample {key!r} in {self.shards[shard].url}: it has no image and no video but {', '.join(members)}"
            )
        kept = {name: span for name, span in members.items() if name != "cls"}
        content = self.read(shard, list(kept.values()))
        files = {name: bytes(data) for name, data in zip(kept, content, strict=True)}
        return Record(key, files.pop(extension), extension, label, _unlabeled(files))


def _unlabeled(files: dict[str, bytes]) -> Mapping[str, bytes]:
    """Files of a sample without the label in its `.json`, which has become a `.cls`."""
    try:
        said: Any = json.loads(files.get("json", b"null"))
    except ValueError:
        return files
    if not isinstance(said, dict) or "label" not in said:
        return files
    rest = {name: value for name, value in said.items() if name != "label"}
    return {**files, "json": json.dumps(rest).encode()}
