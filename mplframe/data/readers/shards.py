"""Shards as a source: samples of packed data sets, and of shards made by others, as they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import final

import numpy as np

from mplframe.contracts.batch import UNKNOWN
from mplframe.data.index import ShardIndex
from mplframe.data.labels import LABEL_EXTENSIONS, parse_label
from mplframe.data.parallel import over_shards
from mplframe.data.readers.base import Labels, Reader, Record, digest
from mplframe.data.readers.shard_files import ShardFiles
from mplframe.data.readers.table import classify
from mplframe.data.shard_list import Shard
from mplframe.errors import DataError


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
