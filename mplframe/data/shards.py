"""Tar shards in the WebDataset layout, on any store."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, final

from pydantic import Field, NonNegativeInt

from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import DatasetSource, Split, SplitName
from mplframe.data.labels import class_names
from mplframe.data.local import cache_folder, local_copy
from mplframe.data.shard_split import Shard, ShardSplit
from mplframe.data.stores import expand
from mplframe.errors import DataError

PARALLEL_COPIES = 8
URLs = str | list[str]


@final
class WebDataset(DatasetSource):
    """Shards of `KEY.jpg` beside `KEY.cls` or `KEY.json`, found by URL.

    Images are jpg, jpeg, png, webp, bmp, ppm or npy (uint8); a label is the whole number in `.cls`, or the index or
    class name under the key `label` of `.json`. Remote shards are copied whole to a local cache before use, so the
    store needs no byte ranges; local ones are read in place.
    """

    class Config(ComponentConfig):
        """Where the shards lie.

        Attributes:
            labeled: URL or URLs; brace patterns and globs are expanded: `s3://bucket/train-{000..099}.tar`.
            unlabeled: likewise; labels found there are kept for diagnostics only.
            test: likewise.
            classes: the number of classes, their names, or the path or URL of a file that has one name a line or is
                a JSON list of names.
            storage_options: handed to the stores' fsspec drivers.
            cache: folder of copies and indexes; by default `MPLFRAME_CACHE`, or `mplframe` in the user's cache folder.
            memory_mb: decoded samples of each split are kept in memory up to this bound, in MiB.
        """

        name: Literal["webdataset"] = "webdataset"
        labeled: URLs | None = None
        unlabeled: URLs | None = None
        test: URLs | None = None
        classes: int | list[str] | str
        storage_options: dict[str, Any] = Field(default_factory=dict)
        cache: str | None = None
        memory_mb: NonNegativeInt = 512

    def __init__(self, config: Config) -> None:
        self._config = config
        self._cache: Path = cache_folder(config.cache)
        self._classes: tuple[str, ...] | None = None
        self._splits: dict[SplitName, tuple[ShardSplit, list[Shard]]] = {}
        self._lock = threading.RLock()

    @property
    def classes(self) -> Sequence[str]:
        """Class names in index order."""
        with self._lock:
            if self._classes is None:
                self._classes = class_names(self._config.classes, self._config.storage_options)
            return self._classes

    def split(self, name: SplitName) -> Split | None:
        """A split; it is copied and indexed when first asked for. None for `unlabeled` where no URL is set.

        Raises:
            DataError: no URL is set, nothing is found there, or a shard is damaged.
            UserError: the store's driver is missing.
        """
        urls: URLs | None = getattr(self._config, name)
        if urls is None:
            if name == "unlabeled":
                return None
            raise DataError(
                f"data.{name} isn't set; set it to the URL of shards (make some: mplframe data pack --help)"
            )
        return self._open(name, urls)[0]

    def fingerprint(self) -> Mapping[str, Any]:
        """For each split: its URLs, how many shards, samples and bytes, and a digest of their sizes and counts."""
        found = {}
        for name in ("labeled", "unlabeled", "test"):
            urls: URLs | None = getattr(self._config, name)
            if urls is not None:
                found[name] = {"urls": urls, **_summary(self._open(name, urls)[1])}
        return {"classes": len(self.classes), **found}

    def _open(self, name: SplitName, urls: URLs) -> tuple[ShardSplit, list[Shard]]:
        with self._lock:
            if name not in self._splits:
                with ThreadPoolExecutor(PARALLEL_COPIES) as pool:
                    shards = list(pool.map(self._shard, expand(urls, self._config.storage_options)))
                split = ShardSplit(
                    shards,
                    self.classes,
                    labels_required=name != "unlabeled",
                    memory_bytes=self._config.memory_mb << 20,
                )
                self._splits[name] = split, shards
            return self._splits[name]

    def _shard(self, url: str) -> Shard:
        return Shard.open(url, local_copy(url, self._cache, self._config.storage_options), self._cache)


def _summary(shards: Sequence[Shard]) -> dict[str, Any]:
    sizes = repr([(shard.size, len(shard.index)) for shard in shards])
    return {
        "shards": len(shards),
        "samples": sum(len(shard.index) for shard in shards),
        "bytes": sum(shard.size for shard in shards),
        "digest": hashlib.sha256(sizes.encode()).hexdigest()[:16],
    }
