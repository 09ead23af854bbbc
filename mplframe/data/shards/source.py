"""Tar shards in the WebDataset layout, on any store."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, final

from pydantic import Field, NonNegativeInt, PositiveFloat

from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import DatasetSource, Split, SplitName
from mplframe.data.shards.access import Access, Storage
from mplframe.data.shards.listing import Shard, list_shards
from mplframe.data.shards.members import TagRule, class_names, tag_rule
from mplframe.data.shards.split import LabelRule, ShardSplit
from mplframe.data.shards.survey import Layouts, Survey, survey
from mplframe.errors import DataError
from mplframe.io.files import cache_folder
from mplframe.io.requests import TIMEOUT
from mplframe.io.stores import Stores

URLs = str | list[str]
ReaderName = Literal["auto", "indexed", "sequential"]
_RANGES = {"auto": None, "indexed": True, "sequential": False}


@final
class WebDataset(DatasetSource):
    """Shards of `KEY.jpg` beside `KEY.cls` or `KEY.json`, found by URL.

    Images are jpg, jpeg, png, webp, bmp, ppm or npy (uint8); a label is the whole number in `.cls`, or the index or
    class name under a key of `.json`; other members are ignored. Local shards are read in place. Remote ones are
    fetched when they are first needed, whole into a bounded local cache, or in ranges of bytes where the cache is too
    small for those that are read at once. Nothing is fetched before that but the shards' indexes: `<shard>.idx` beside
    a shard, or else one scan of it, whose result is kept.
    """

    class Config(ComponentConfig):
        """Where the shards lie.

        Attributes:
            labeled: URL or URLs; brace patterns and globs are expanded: `s3://bucket/train-{000..099}.tar`. One that
                ends with `.txt` is a list of URLs, one a line, relative to the list; `#` begins a comment.
            unlabeled: likewise; labels found there are kept for diagnostics only.
            test: likewise.
            classes: the number of classes, their names, or the path or URL of a file that has one name a line or is
                a JSON list of names.
            label_key: the key of the label in a `.json` member; dots lead into nested objects: `meta.label`.
            tag_key: likewise of tags, a list or a text with commas: weak labels that images can be selected by. Null
                for none.
            tag_classes: path or URL of a JSON object that gives each tag the class that it names, by name or index, or
                a list of them; other tags name none. Null: a tag is the name of its class.
            storage_options: handed to the stores' fsspec drivers.
            reader: `indexed` asks stores for ranges of bytes; `sequential` fetches each shard as one stream into the
                cache; `auto` is `indexed` where the store gives ranges, and else `sequential`.
            timeout: seconds that one request to a store may take before it is tried again.
            cache: folder of copies and indexes; by default `MPLFRAME_CACHE`, or `mplframe` in the user's cache folder.
            cache_mb: copies of remote shards take up to so much of it, in MiB; those least recently used go first. 0
                keeps none and reads ranges of bytes.
            memory_mb: decoded samples of each split are kept in memory up to this bound, in MiB.
        """

        name: Literal["webdataset"] = "webdataset"
        labeled: URLs | None = None
        unlabeled: URLs | None = None
        test: URLs | None = None
        classes: int | list[str] | str
        label_key: str = "label"
        tag_key: str | None = None
        tag_classes: str | None = None
        storage_options: dict[str, Any] = Field(default_factory=dict)
        reader: ReaderName = "auto"
        timeout: PositiveFloat = TIMEOUT
        cache: str | None = None
        cache_mb: NonNegativeInt = 20_000
        memory_mb: NonNegativeInt = 512

    def __init__(self, config: Config) -> None:
        self._config = config
        stores = Stores(config.storage_options, timeout=config.timeout, ranges=_RANGES[config.reader])
        self.storage = Storage.of(stores, cache_folder(config.cache), config.cache_mb << 20)
        self._classes: tuple[str, ...] | None = None
        self._splits: dict[SplitName, tuple[ShardSplit, Survey]] = {}
        self._lock = threading.RLock()

    @property
    def classes(self) -> Sequence[str]:
        """Class names in index order."""
        with self._lock:
            if self._classes is None:
                self._classes = class_names(self._config.classes, self._config.storage_options)
            return self._classes

    def split(self, name: SplitName) -> Split | None:
        """A split, whose shards are listed and indexed when it is first asked for.

        None for `unlabeled` where no URL is set. Damaged samples are left out and listed in its `damage`.

        Raises:
            DataError: no URL is set, nothing is found there, or a shard can't be used at all.
            StoreError: the store can't be reached.
            UserError: its driver is missing.
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

    def _open(self, name: SplitName, urls: URLs) -> tuple[ShardSplit, Survey]:
        with self._lock:
            if name not in self._splits:
                self._splits[name] = self._opened(list_shards(urls, self.storage.stores), name)
            return self._splits[name]

    def _opened(self, shards: Sequence[Shard], name: SplitName) -> tuple[ShardSplit, Survey]:
        access = Access(shards, self.storage.stores, self.storage.copies)
        layouts = Layouts(shards, self.storage.indexes, access, labels_required=name != "unlabeled")
        found = survey(shards, layouts, self.storage.folder)
        if not any(found.counts):
            raise DataError(f"{found.damage[0].reason}; nothing else in the {name} split can be used")
        memory = self._config.memory_mb << 20
        return ShardSplit(shards, found, layouts.get, access, self.label_rule(name), memory_bytes=memory), found

    def label_rule(self, name: SplitName) -> LabelRule:
        """How the labels of a split are read."""
        return LabelRule(self.classes, name != "unlabeled", self._config.label_key, self._tags)

    @cached_property
    def _tags(self) -> TagRule | None:
        config = self._config
        if config.tag_key is None:
            return None
        return tag_rule(config.tag_key, self.classes, config.tag_classes, config.storage_options)


def _summary(found: Survey) -> dict[str, Any]:
    digest = hashlib.sha256(repr(list(zip(found.sizes, found.counts, strict=True))).encode()).hexdigest()
    return {
        "shards": len(found.counts),
        "samples": sum(found.counts),
        "bytes": sum(found.sizes),
        "digest": digest[:16],
    }
