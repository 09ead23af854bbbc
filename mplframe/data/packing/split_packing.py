"""Splits of packed shards into shards of their own, resumable by a journal."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mplframe.contracts.batch import UNKNOWN
from mplframe.data.packing.choice import Indices
from mplframe.data.packing.writer import Members, Shard, ShardLimits, ShardWriter, encode
from mplframe.data.readers.base import Reader
from mplframe.data.shards.index_files import write_index
from mplframe.errors import DataError, UserError
from mplframe.io.files import write_atomic
from mplframe.io.output import LOCK, Output
from mplframe.io.threads import ordered

JOURNAL = "journal.jsonl"


@dataclass
class Finished:
    """What is finished of a split.

    Attributes:
        shards: in order.
        end: how many samples of the split's order they stand for.
        left_out: numbers of samples among those that couldn't be decoded, and why.
    """

    shards: list[Shard] = field(default_factory=list)
    end: int = 0
    left_out: dict[int, str] = field(default_factory=dict)


class Journal:
    """One line of JSON for each finished shard, behind a line that says what is being packed.

    Args:
        folder: of the unfinished work.
        identity: of what is packed and how; what another identity has left isn't gone on from.
        restart: remove what another identity has left.

    Raises:
        UserError: another identity has left something, and `restart` isn't set.
    """

    def __init__(self, folder: Path, identity: str, *, restart: bool) -> None:
        self._path, self._identity = folder / JOURNAL, {"identity": identity}
        self._splits: defaultdict[str, Finished] = defaultdict(Finished)
        lines = _whole_lines(self._path)
        if lines and lines[0] != self._identity:
            if not restart:
                raise UserError(
                    f"{folder} holds what an unfinished pack of other images, or with other options, has left; run "
                    "that command again to finish it, or start afresh with --overwrite"
                )
            self._path.unlink()
            lines = []
        self._rewrite(lines)
        for line in lines[1:]:
            self._take(line)
        _remove_others(folder, {self._path.name, LOCK, *(file for line in lines[1:] for file in line["files"])})

    def finished(self, split: str) -> Finished:
        """What is finished of a split; not to be changed."""
        return self._splits[split]

    def add(self, split: str, shard: Shard, *, end: int, left_out: Mapping[int, str], files: list[str]) -> None:
        """Note a shard whose files are where they belong.

        Args:
            split: that it belongs to.
            shard: what was written.
            end: how many samples of the split's order this shard and those before it stand for.
            left_out: numbers of samples that were left out since the shard before, and why.
            files: its files in the folder.
        """
        line: dict[str, Any] = {
            "split": split, "shard": asdict(shard), "end": end, "left_out": list(left_out.items()), "files": files,
        }  # fmt: skip
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(_text(entry) for entry in ([line] if file.tell() else [self._identity, line]))
        self._take(line)

    def _take(self, line: Mapping[str, Any]) -> None:
        finished = self._splits[line["split"]]
        finished.shards.append(Shard(**line["shard"]))
        finished.end = line["end"]
        finished.left_out.update((int(number), reason) for number, reason in line["left_out"])

    def _rewrite(self, lines: list[dict[str, Any]]) -> None:
        """Drop half a line that a killed process has left."""
        if lines:
            write_atomic(self._path, lambda file: file.write("".join(map(_text, lines)).encode()))


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps(line) + "\n"


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """What the lines of a journal say, without a last one that a killed process has left unfinished."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def _remove_others(folder: Path, keep: set[str]) -> None:
    """Remove the files of shards that weren't finished."""
    for path in folder.iterdir():
        if path.name not in keep:
            path.unlink()


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
