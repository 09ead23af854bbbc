"""One split into shards: in parallel, and from where it was stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mplframe.contracts.batch import UNKNOWN
from mplframe.data.journal import Journal
from mplframe.data.output import Output
from mplframe.data.readers.base import Reader
from mplframe.data.sidecar import write_index
from mplframe.data.splits import Indices
from mplframe.data.workers import ordered
from mplframe.data.writer import Members, Shard, ShardLimits, ShardWriter, encode
from mplframe.errors import DataError

_CHUNK = 8
"""Samples that a worker encodes at a time."""

_WINDOW = 8
"""Groups of records that are shuffled together, where records of a group are costly to read apart."""


@dataclass(frozen=True)
class PackOptions:
    """How shards are written.

    Attributes:
        limits: when a shard is full.
        order: `shuffled` once by `seed`, so that neighbours in a shard are unrelated; or `as_is`.
        seed: of the order and of every choice of images.
        damaged: an image that can't be decoded is an `error`, or is left out and listed (`skip`).
        overwrite: replace a packed data set that is already there.
        workers: threads that read and check images; None for one a core. The shards don't depend on it.
    """

    limits: ShardLimits = field(default_factory=ShardLimits)
    order: Literal["shuffled", "as_is"] = "shuffled"
    seed: int = 0
    damaged: Literal["error", "skip"] = "error"
    overwrite: bool = False
    workers: int | None = None


@dataclass(frozen=True)
class PackedSplit:
    """What was written of one split.

    Attributes:
        samples: how many.
        labels: samples by class index; empty where none has a label.
        shards: in order.
    """

    samples: int
    labels: tuple[int, ...]
    shards: tuple[Shard, ...]


@dataclass
class SplitPacker:
    """Writes splits, and gathers what the user should know.

    Attributes:
        output: where to.
        journal: of what is finished.
        options: how.
        progress: told of every further number of samples.
        notes: what was left out, and other things to know.
    """

    output: Output
    journal: Journal
    options: PackOptions
    progress: Callable[[int], None]
    notes: list[str] = field(default_factory=list)

    def write(self, split: str, reader: Reader, stream: int) -> PackedSplit:
        """One split, from where an earlier pack was stopped; `stream` tells its order from that of other splits.

        Raises:
            DataError: an image is damaged and may not be left out, or all are.
            OSError, UserError: it can't be written.
        """
        order = pack_order(reader, self.options, stream)
        finished = self.journal.finished(split)
        self.progress(finished.end)
        left_out = self._write_rest(split, reader, order)
        self.notes += left_out.values()
        if not finished.shards:
            raise DataError(f"{split}: not one image could be decoded; the first problem: {self.notes[-1]}")
        self.notes += reader.notes
        labels = np.delete(reader.labels, list(left_out))
        counts = np.bincount(labels[labels != UNKNOWN], minlength=len(reader.classes))
        return PackedSplit(len(labels), tuple(counts.tolist()) if counts.any() else (), tuple(finished.shards))

    def _write_rest(self, split: str, reader: Reader, order: Indices) -> dict[int, str]:
        """Write what isn't finished; all numbers that were left out, and why."""
        finished = self.journal.finished(split)
        waiting: dict[int, str] = {}  # left out since the last finished shard
        samples = encoded(reader, order[finished.end :], self.options.workers)
        with (
            ShardWriter(self.output.folder, split, self.options.limits, len(finished.shards)) as writer,
            closing(samples),
        ):
            for position, sample in enumerate(samples, finished.end):
                if isinstance(sample, DataError):
                    waiting[int(order[position])] = self._left_out(split, sample)
                elif (complete := writer.write(sample)) is not None:
                    self._finish(split, complete, position, waiting)
                self.progress(1)
            if (last := writer.finish()) is not None:
                self._finish(split, last, len(order), waiting)
        return {**finished.left_out, **waiting}

    def _finish(self, split: str, shard: Shard, end: int, left_out: dict[int, str]) -> None:
        path = self.output.folder / shard.file
        files = [path, write_index(path)]
        for file in files:
            self.output.add(file)
        self.journal.add(split, shard, end=end, left_out=left_out, files=[file.name for file in files])
        left_out.clear()

    def _left_out(self, split: str, error: DataError) -> str:
        if self.options.damaged == "error":
            raise DataError(f"{split}: {error} (or leave out what is damaged with --skip-damaged)") from error
        return f"{split}: left out: {error}"


def pack_order(reader: Reader, options: PackOptions, stream: int) -> Indices:
    """[N] the numbers of a reader's records in the order of packing.

    Records that are costly to read apart stay near each other: their groups are shuffled, then the records within a
    few groups.
    """
    if options.order == "as_is":
        return np.arange(len(reader))
    # A stream of its own for each split: adding a test split must not reorder the labeled one.
    rng = np.random.default_rng(np.random.SeedSequence([options.seed, stream]))
    groups = reader.groups
    if groups is None:
        return rng.permutation(len(reader))
    place = rng.permutation(int(groups.max()) + 1)[groups]  # [N] where each record's group comes
    numbers = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[numbers], prepend=-1))[::_WINDOW]
    return np.concatenate([rng.permutation(window) for window in np.split(numbers, starts[1:])])


def encoded(reader: Reader, order: Indices, workers: int | None) -> Generator[Members | DataError]:
    """Every record in this order, as a shard takes it, or what is wrong with it."""

    def encode_chunk(numbers: Indices) -> list[Members | DataError]:
        return [_encoded(reader, number) for number in numbers.tolist()]

    threads = cores() if workers is None else workers
    chunks = [order[at : at + _CHUNK] for at in range(0, len(order), _CHUNK)]
    for results in ordered(encode_chunk, chunks, workers=threads, prefetch=2 * threads):
        yield from results


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _encoded(reader: Reader, number: int) -> Members | DataError:
    try:
        return encode(number, reader.read(number))
    except DataError as error:
        return error
