"""What a data set holds, and whether it is whole."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import get_args

import numpy as np

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import Damage, DatasetSource, Split, SplitName
from mplframe.data.inspecting.sheets import contact_sheet, evenly_spaced
from mplframe.data.shards.access import Access
from mplframe.data.shards.index_files import sidecar_bytes
from mplframe.data.shards.listing import Shard, describe, expand, list_shards
from mplframe.data.shards.source import WebDataset
from mplframe.data.shards.split import ShardSplit
from mplframe.data.shards.survey import Survey, damage_text, lay_out
from mplframe.errors import DataError, UserError
from mplframe.io.stores import StoreError
from mplframe.io.threads import ordered

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


__all__ = ["Inspection", "Problem", "SplitInspection", "contact_sheet", "inspect", "verify", "verify_shards"]


@dataclass(frozen=True)
class Sizes:
    """The sizes of some files, in bytes."""

    total: int
    smallest: int
    median: int
    largest: int

    @classmethod
    def of(cls, sizes: Sequence[int]) -> Sizes:
        """Of at least one file."""
        return cls(sum(sizes), min(sizes), int(median(sizes)), max(sizes))


@dataclass(frozen=True)
class SplitInspection:
    """What a split holds.

    Attributes:
        shards: groups of samples that lie together.
        samples: how many there are.
        read: how many were looked at, evenly spaced; what follows counts those alone.
        class_counts: samples by class name, in index order, with classes that don't occur.
        without_label: samples without a label.
        image_sizes: images and videos by (height, width, channels), the most frequent first.
        videos: how many of those that were read are videos.
        damage: what was found unusable when the split was opened, and isn't counted.
        shard_bytes: sizes of its shards, in bytes; None where it isn't made of shards.
    """

    shards: int
    samples: int
    read: int
    class_counts: Mapping[str, int]
    without_label: int
    image_sizes: Mapping[tuple[int, int, int], int]
    videos: int
    damage: tuple[Damage, ...]
    shard_bytes: Sizes | None

    @property
    def imbalance(self) -> float | None:
        """The size of the largest class over that of the smallest.

        Infinite where a class is missing, None where nothing is labeled.
        """
        counts = self.class_counts.values()
        if not any(counts):
            return None
        return max(counts) / min(counts) if min(counts) else float("inf")


@dataclass(frozen=True)
class Inspection:
    """What a data set holds.

    Attributes:
        classes: names in index order.
        splits: those that could be read.
        problems: why others couldn't.
    """

    classes: tuple[str, ...]
    splits: Mapping[SplitName, SplitInspection]
    problems: tuple[Problem, ...]


def inspect(source: DatasetSource, limit: int | None = 2_000, *, config: ComponentConfig | None = None) -> Inspection:
    """Look at every split of a data set.

    Args:
        source: the data set.
        limit: samples that are read of each split; None reads all.
        config: of the data set; shards that it names are measured, and splits that it sets to null aren't asked for.

    Raises:
        UserError: `limit` is less than 1, or the class names can't be had.
    """
    if limit is not None and limit < 1:
        raise UserError(f"inspecting needs a limit of at least one sample, got {limit}; leave it unset to read all")
    classes = tuple(source.classes)
    splits: dict[SplitName, SplitInspection] = {}
    problems: list[Problem] = []
    for name in SPLITS:
        if getattr(config, name, name) is None:
            continue
        try:
            split = source.split(name)
            if split is not None:
                sizes = _shard_sizes(getattr(config, name, None), source)
                splits[name] = _inspect(split, classes, limit, sizes, labels_required=name != "unlabeled")
        except DataError as error:
            problems.append(Problem(name, "", None, str(error)))
    return Inspection(classes, splits, tuple(problems))


def _shard_sizes(urls: str | Sequence[str] | None, source: DatasetSource) -> Sizes | None:
    if urls is None or not isinstance(source, WebDataset):
        return None
    sizes = [shard.size for shard in list_shards(urls, source.storage.stores) if shard.size is not None]
    return Sizes.of(sizes) if sizes else None


def _inspect(
    split: Split, classes: tuple[str, ...], limit: int | None, sizes: Sizes | None, *, labels_required: bool
) -> SplitInspection:
    numbers = evenly_spaced(len(split), limit or len(split))
    labels: Counter[int] = Counter()
    shapes: Counter[tuple[int, ...]] = Counter()
    videos = 0
    for start in range(0, len(numbers), _BATCH):
        for sample in split.read(numbers[start : start + _BATCH]):
            wrong = out_of_range(sample.label, len(classes), labels_required)
            if wrong is not None:
                raise DataError(f"sample {sample.key!r}: {wrong}")
            labels[sample.label] += 1
            shapes[sample.image.shape[-3:]] += 1
            videos += sample.image.ndim == 4
    return SplitInspection(
        shards=len(split.group_sizes),
        samples=len(split),
        read=len(numbers),
        class_counts={name: labels[number] for number, name in enumerate(classes)},
        without_label=labels[UNKNOWN],
        image_sizes={(size[0], size[1], size[2]): count for size, count in shapes.most_common()},
        videos=videos,
        damage=tuple(split.damage),
        shard_bytes=sizes,
    )
