"""Data sets that are made on the spot: on first use they pack themselves into the cache."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from filelock import FileLock

from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import DatasetSource, Split, SplitName
from mplframe.data.packing.choice import Indices, rest, stratified
from mplframe.data.packing.packing import FORMAT_VERSION, MARKER, pack_splits
from mplframe.data.packing.partition import Parts
from mplframe.data.readers.base import Reader, Subset
from mplframe.data.shards.listing import inside
from mplframe.data.shards.source import WebDataset
from mplframe.io.files import cache_folder
from mplframe.io.output import writing


class SelfPacked(DatasetSource):
    """A data set that is packed into the cache when it is first asked for, once for all processes.

    Args:
        config: its settings; all but `cache` and those that are null tell one from another.
        classes: names in index order.
        parts: makes what is packed.
        cache: the folder of all caches; None for the usual one.
    """

    def __init__(
        self, config: ComponentConfig, classes: Sequence[str], parts: Callable[[], Parts], cache: str | None
    ) -> None:
        self._settings = config.model_dump(mode="json", exclude={"cache"}, exclude_none=True)
        self._folder = cache_folder(cache) / "datasets" / f"{config.name}-{_digest(self._settings)}"
        self._cache, self._classes, self._parts = cache, classes, parts
        self._lock = threading.Lock()
        self._source: WebDataset | None = None

    @property
    def classes(self) -> Sequence[str]:
        return self._classes

    def split(self, name: SplitName) -> Split | None:
        return self._packed().split(name)

    def fingerprint(self) -> dict[str, Any]:
        """The settings, and the shards without the place where they happen to lie."""
        found = self._packed().fingerprint()
        splits = {
            name: {key: value for key, value in split.items() if key != "urls"}
            for name, split in found.items()
            if isinstance(split, Mapping)
        }
        return {**self._settings, "classes": len(self._classes), "splits": splits}

    def _packed(self) -> WebDataset:
        with self._lock:
            if self._source is None:
                self._pack()
                self._source = self._open()
            return self._source

    def _pack(self) -> None:
        if (self._folder / MARKER).is_file():
            return
        with writing(self._folder, "set data.cache or MPLFRAME_CACHE to a folder that can be written"):
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self._folder}.lock"):
                if not (self._folder / MARKER).is_file():
                    parts = self._parts()
                    pack_splits(
                        self._folder,
                        labeled=parts.labeled,
                        unlabeled=parts.unlabeled,
                        test=parts.test,
                        keep_truth=True,
                        source=self._settings,
                    )

    def _open(self) -> WebDataset:
        shards = {
            split: inside(self._folder, f"{split}-*.tar")
            for split in ("labeled", "unlabeled", "test")
            if any(self._folder.glob(f"{split}-*.tar"))
        }
        return WebDataset(WebDataset.Config(**shards, classes=list(self._classes), cache=self._cache))


def three_way(train: Reader, test: Reader, held_out: Indices, per_class: int, seed: int) -> Parts:
    """A few samples of each class labeled, what is left of them unlabeled.

    Args:
        train: all samples that aren't of a test set of their own.
        test: the test set.
        held_out: numbers in `train` that are in `test`.
        per_class: labeled samples of each class.
        seed: of their choice.

    Raises:
        DataError: a class has too few samples.
    """
    left = rest(len(train), held_out)
    labeled = left[stratified(train.labels[left], per_class, seed)]
    unlabeled = rest(len(train), held_out, labeled)
    return Parts(Subset(train, labeled), Subset(train, unlabeled) if len(unlabeled) else None, test)


def _digest(settings: Mapping[str, Any]) -> str:
    text = json.dumps({"format": FORMAT_VERSION, **settings}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
