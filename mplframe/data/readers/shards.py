"""Shards that were packed before, by mplframe or others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, final

import numpy as np

from mplframe.contracts.batch import UNKNOWN
from mplframe.data.decoding.media import SAMPLE_EXTENSIONS
from mplframe.data.readers.base import Labels, Reader, Record, Subset, digest
from mplframe.data.readers.detect import Source
from mplframe.data.readers.files import STORES, is_url
from mplframe.data.readers.table import classify
from mplframe.data.shards.access import Access, Storage
from mplframe.data.shards.content import Span
from mplframe.data.shards.index import ShardIndex
from mplframe.data.shards.index_files import sidecar_bytes
from mplframe.data.shards.listing import Shard, list_shards
from mplframe.data.shards.members import LABEL_EXTENSIONS, class_names, parse_label
from mplframe.errors import DataError, UserError
from mplframe.io.files import cache_folder
from mplframe.io.stores import explained
from mplframe.io.threads import over_shards

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


@final
class ShardReader(Reader):
    """Samples in tar shards of the WebDataset layout; their bytes are kept as they are.

    Files beside the image and its label are kept too; the key `label` of a `.json` becomes a `.cls`.

    Args:
        urls: of the shards; see `shard_list.expand`.
        classes: class names in index order; None takes them from the labels as in a CSV file.
        skip_damaged: leave out what isn't whole, and note it.

    Raises:
        DataError: a shard is missing, a sample has no image or a label that isn't one, or one is damaged.
        UserError: a store can't be reached.
    """

    def __init__(
        self, urls: str | Sequence[str], classes: Sequence[str] | None = None, *, skip_damaged: bool = False
    ) -> None:
        self._files = ShardFiles(urls)
        self._ends = list(accumulate(map(len, self._files.indexes)))
        self._notes = _damage(self._files.shards, self._files.indexes, skip_damaged)
        texts = [text for found in over_shards(self._texts, range(len(self._files.shards))) for text in found]
        # A label is a number or a name; numbers name the classes that are known by their place.
        names = list(classes or ())
        spelled = [names[int(t)] if t not in names and t.isdigit() and int(t) < len(names) else t for t in texts]
        self._labels, self._classes = classify(spelled, classes or None, self._name)

    @property
    def classes(self) -> Sequence[str]:
        return self._classes

    @property
    def labels(self) -> Labels:
        return self._labels

    @property
    def notes(self) -> Sequence[str]:
        return self._notes

    @cached_property
    def groups(self) -> Labels:
        """The shards."""
        return np.searchsorted(self._ends, np.arange(len(self)), side="right")

    @cached_property
    def digest(self) -> str:
        return digest(repr(self._classes), self._labels, *self._files.identity)

    def read(self, index: int) -> Record:
        shard, sample = self._place(index)
        label = int(self._labels[index])
        return self._files.record(shard, sample, None if label == UNKNOWN else label)

    def origin(self, index: int) -> tuple[str, str]:
        shard, sample = self._place(index)
        return self._files.shards[shard].url, self._files.indexes[shard].key(sample)

    def _texts(self, number: int) -> list[str]:
        """The labels of a shard as they are written; empty where there is none."""
        shard, index = self._files.shards[number], self._files.indexes[number]
        members = index.best(LABEL_EXTENSIONS)
        known = members[members >= 0]
        spans = list(zip(index.offset[known].tolist(), index.length[known].tolist(), strict=True))
        contents = iter(self._files.read(number, spans))
        texts = []
        for sample, member in enumerate(members.tolist()):
            where = f"sample {index.key(sample)!r} in {shard.url}"
            extension = index.extensions[index.extension[member]]
            label = parse_label(extension, bytes(next(contents)), where) if member >= 0 else None
            texts.append("" if label is None else str(label))
        return texts

    def _place(self, index: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._ends, index, side="right"))
        return shard, index - (self._ends[shard - 1] if shard else 0)

    def _name(self, index: int) -> str:
        url, key = self.origin(index)
        return f"sample {key!r} in {url}"


def _damage(shards: Sequence[Shard], indexes: Sequence[ShardIndex], skip: bool) -> list[str]:
    found = [
        f"{shard.url}: {f'sample {key!r}' if key else 'the rest of the shard'} left out: {reason}"
        for shard, index in zip(shards, indexes, strict=True)
        for key, reason in index.damage
    ]
    if found and not skip:
        raise DataError(f"{found[0]} (or go on without with --skip-damaged; `mplframe data verify` lists all)")
    return found


DESCRIPTION = "dataset.json"


def open_packed(target: str, classes: str | None = None, *, skip_damaged: bool = False) -> Source:
    """Open what is divided: its labeled images to be divided, its unlabeled ones, its test images.

    Samples of a packed data set are in the order in which they were before they were packed; those of other shards as
    they lie there.

    Args:
        target: a packed folder, local or in a store, or the URL of shards.
        classes: of shards: the number of classes, or the path or URL of a file of names. A packed data set has its own.
        skip_damaged: leave out samples that aren't whole, and note them.

    Raises:
        DataError: nothing is there, or it is damaged.
        UserError: `classes` is given for a packed data set, or a store can't be reached.
    """
    if target.partition("?")[0].endswith((".tar", ".txt")) or "*" in target:
        names = None if classes is None else class_names(int(classes) if classes.isdigit() else classes)
        return Source("shards", ShardReader(target, names, skip_damaged=skip_damaged), place=target)
    said = _description(target)
    if classes is not None:
        raise UserError(f"{target} has its own class names; leave --classes out")
    splits = {
        name: _in_order([f"{target.rstrip('/')}/{shard['file']}" for shard in split["shards"]], said, skip_damaged)
        for name, split in said["splits"].items()
    }
    if "labeled" not in splits:
        raise DataError(f"{target} has no labeled samples to divide (it has {', '.join(splits)})")
    format = said["source"].get("format") or "shards"
    return Source(format, splits["labeled"], splits.get("test"), splits.get("unlabeled"), place=target)


def _description(target: str) -> Any:
    url = f"{target.rstrip('/')}/{DESCRIPTION}"
    if not is_url(target) and not Path(url).is_file():
        raise DataError(
            f"{target}: neither shards (such as {target.rstrip('/')}/*.tar) nor a folder made by `mplframe data pack`, "
            f"which has {DESCRIPTION}"
        )
    with explained(url):
        text = STORES.read(url)
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{url}: damaged: {error}") from error


def _in_order(urls: Sequence[str], said: Any, skip_damaged: bool) -> Reader:
    """Samples sorted by the number that packing has put in front of their keys."""
    reader = ShardReader(urls, said["classes"] or None, skip_damaged=skip_damaged)
    keys = np.array([reader.origin(i)[1] for i in range(len(reader))])
    return Subset(reader, np.argsort(keys, kind="stable"))
