"""Reading every sample of a data set, to find all that is wrong with it and not only the first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import DatasetSource, Split, SplitName
from mplframe.data.access import Access
from mplframe.data.layout import lay_out
from mplframe.data.shard_list import Shard, describe, expand
from mplframe.data.shard_split import ShardSplit
from mplframe.data.shards import WebDataset
from mplframe.data.sidecar import sidecar_bytes
from mplframe.data.survey import Survey, damage_text
from mplframe.data.workers import ordered
from mplframe.errors import DataError
from mplframe.stores.stores import StoreError

SPLITS: tuple[SplitName, ...] = get_args(SplitName)
WORKERS = 4
_BATCH = 64

Progress = Callable[[int], None]
"""Called with the number of samples read so far, one call at a time."""


@dataclass(frozen=True)
class Problem:
    """Something that would stop training.

    Attributes:
        split: where.
        shard: the URL of the shard, or its number in a source that isn't made of shards; empty where the whole split
            is at fault.
        sample: the number of the sample in its shard; None where it has none.
        reason: what is wrong, and with which key.
    """

    split: SplitName
    shard: str
    sample: int | None
    reason: str


def verify(source: DatasetSource, progress: Progress | None = None) -> list[Problem]:
    """Read and decode every sample of every split.

    Returns:
        Every problem, in order; a split that can't be opened counts as one, so use `verify_shards` for shards.
    """
    classes = len(source.classes)
    count = _Count(progress)
    return [problem for name in SPLITS for problem in _split(source, name, classes, count)]


def verify_shards(config: WebDataset.Config, progress: Progress | None = None) -> list[Problem]:
    """Read and decode every sample of every shard, several shards at once, whatever is kept of their indexes.

    A shard that can't be read doesn't hide what is wrong with the others.

    Raises:
        UserError, DataError: the class names can't be had, or no shard is named.
    """
    source = WebDataset(config.model_copy(update={"memory_mb": 0}))
    named = {name: getattr(config, name) for name in SPLITS if getattr(config, name) is not None}
    if not named:
        raise DataError("no shards to verify: set labeled, unlabeled or test to the URL of shards")
    classes, count = len(source.classes), _Count(progress)
    return [p for name, urls in named.items() for p in _shards(source, name, urls, classes, count)]


def out_of_range(label: int, classes: int, labels_required: bool) -> str | None:
    """What is wrong with a label; None where it is a class index, or unknown where it may be."""
    if 0 <= label < classes or (label == UNKNOWN and not labels_required):
        return None
    return f"label {label} is out of range; with {classes} classes it must be 0 to {classes - 1}"


class _Count:
    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._done, self._lock = progress, 0, threading.Lock()

    def add(self) -> None:
        with self._lock:
            self._done += 1
            if self._progress is not None:
                self._progress(self._done)


def _shards(
    source: WebDataset, name: SplitName, urls: str | list[str], classes: int, count: _Count
) -> Iterator[Problem]:
    try:
        shards = expand(urls, source.storage.stores)
    except (DataError, StoreError) as error:
        yield Problem(name, "", None, str(error))
        return

    def check(url: str) -> list[Problem]:
        try:
            shard = Shard(url, *(shards[url] or describe(url, source.storage.stores)))
            return list(_shard(source, shard, name, classes, count))
        except (DataError, StoreError) as error:
            return [Problem(name, url, None, str(error))]

    for problems in ordered(check, shards, workers=WORKERS, prefetch=WORKERS):
        yield from problems


def _shard(source: WebDataset, shard: Shard, name: SplitName, classes: int, count: _Count) -> Iterator[Problem]:
    storage = source.storage
    access = Access([shard], storage.stores, storage.copies)
    index = storage.indexes.scanned(shard, access.of(shard))
    beside = storage.indexes.beside(shard, access.of(shard))
    if beside is not None and sidecar_bytes(beside) != sidecar_bytes(index):
        yield Problem(name, shard.url, None, "its .idx says otherwise than the shard; make it again or remove it")
    layout, out = lay_out(index, shard.url, labels_required=name != "unlabeled")
    yield from (Problem(name, shard.url, None, damage_text(key, shard.url, reason)) for key, reason in out)
    survey = Survey((len(layout),), (index.size,), ())
    split = ShardSplit([shard], survey, lambda _: layout, access, source.label_rule(name), memory_bytes=0)
    for start in range(0, len(layout), _BATCH):
        numbers = range(start, min(start + _BATCH, len(layout)))
        for number, reason in _wrong(split, numbers, classes, name, count):
            yield Problem(name, shard.url, int(layout.samples[number]), reason)


def _split(source: DatasetSource, name: SplitName, classes: int, count: _Count) -> Iterator[Problem]:
    try:
        split = source.split(name)
    except (DataError, StoreError) as error:
        yield Problem(name, "", None, str(error))
        return
    if split is None:
        return
    yield from (Problem(name, damage.where, None, damage.reason) for damage in split.damage)
    ends = np.cumsum(split.group_sizes)

    def check(start: int) -> list[tuple[int, str]]:
        return list(_wrong(split, range(start, min(start + _BATCH, len(split))), classes, name, count))

    for problems in ordered(check, range(0, len(split), _BATCH), workers=WORKERS, prefetch=WORKERS):
        for number, reason in problems:
            group = int(np.searchsorted(ends, number, side="right"))
            first = int(ends[group - 1]) if group else 0
            yield Problem(name, str(group), number - first, reason)


def _wrong(
    split: Split, numbers: Sequence[int], classes: int, name: SplitName, count: _Count
) -> Iterator[tuple[int, str]]:
    """What is wrong with some samples, by their numbers; one by one only where not all can be read."""
    try:
        samples = split.read(numbers)
    except DataError:
        samples = None
    for place, number in enumerate(numbers):
        try:
            sample = split.read([number])[0] if samples is None else samples[place]
            wrong = out_of_range(sample.label, classes, name != "unlabeled")
            reason = None if wrong is None else f"sample {sample.key!r}: {wrong}"
        except DataError as error:
            reason = str(error)
        count.add()
        if reason is not None:
            yield number, reason
