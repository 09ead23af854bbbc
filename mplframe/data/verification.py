"""Reading every sample of a data set, to find all that is wrong with it and not only the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import DatasetSource, Split, SplitName
from mplframe.data.shards import WebDataset
from mplframe.data.stores import expand
from mplframe.errors import DataError

SPLITS: tuple[SplitName, ...] = get_args(SplitName)

Progress = Callable[[int], None]
"""Called with the number of samples read so far."""


@dataclass(frozen=True)
class Problem:
    """Something that would stop training.

    Attributes:
        split: where.
        shard: the URL of the shard, or its number in a source that isn't made of shards; empty where the whole split
            is at fault.
        sample: the number of the sample in its shard; None where it is no single sample.
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
    """Read and decode every sample of every shard; a damaged shard doesn't hide what is wrong with the others.

    Raises:
        UserError, DataError: the class names can't be had, or no shard is named.
    """
    classes = list(WebDataset(config).classes)
    named = {name: getattr(config, name) for name in SPLITS if getattr(config, name) is not None}
    if not named:
        raise DataError("no shards to verify: set labeled, unlabeled or test to the URL of shards")
    count = _Count(progress)
    return [problem for name, urls in named.items() for problem in _shards(config, name, urls, classes, count)]


def out_of_range(label: int, classes: int, labels_required: bool) -> str | None:
    """What is wrong with a label; None where it is a class index, or unknown where it may be."""
    if 0 <= label < classes or (label == UNKNOWN and not labels_required):
        return None
    return f"label {label} is out of range; with {classes} classes it must be 0 to {classes - 1}"


@dataclass
class _Count:
    progress: Progress | None
    done: int = 0

    def add(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done)


def _shards(
    config: WebDataset.Config, name: SplitName, urls: str | list[str], classes: list[str], count: _Count
) -> Iterator[Problem]:
    try:
        expanded = expand(urls, config.storage_options)
    except DataError as error:
        yield Problem(name, "", None, str(error))
        return
    for url in expanded:
        alone: dict[str, Any] = {**dict.fromkeys(SPLITS), name: url, "classes": classes, "memory_mb": 0}
        for problem in _split(WebDataset(config.model_copy(update=alone)), name, len(classes), count):
            yield Problem(name, url, problem.sample, problem.reason)


def _split(source: DatasetSource, name: SplitName, classes: int, count: _Count) -> Iterator[Problem]:
    try:
        split = source.split(name)
    except DataError as error:
        yield Problem(name, "", None, str(error))
        return
    if split is None:
        return
    ends = np.cumsum(split.group_sizes)
    for number in range(len(split)):
        reason = _sample(split, number, classes, name != "unlabeled")
        count.add()
        if reason is not None:
            group = int(np.searchsorted(ends, number, side="right"))
            start = int(ends[group - 1]) if group else 0
            yield Problem(name, str(group), number - start, reason)


def _sample(split: Split, number: int, classes: int, labels_required: bool) -> str | None:
    try:
        (sample,) = split.read([number])
    except DataError as error:
        return str(error)
    wrong = out_of_range(sample.label, classes, labels_required)
    return None if wrong is None else f"sample {sample.key!r}: {wrong}"
