"""Readers into a packed data set: shards, class names and a description, written as one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import SplitName
from mplframe.data.output import new_folder
from mplframe.data.readers.base import Reader
from mplframe.data.readers.views import WithoutLabels, same_classes
from mplframe.data.writer import Members, Shard, ShardLimits, encode, write_shards
from mplframe.errors import DataError, UserError

FORMAT_VERSION = 1
MARKER = "dataset.json"
_NAMES: tuple[SplitName, ...] = ("labeled", "unlabeled", "test")

Progress = Callable[[int, int], None]
"""Called with the number of samples done, and of all."""


@dataclass(frozen=True)
class PackOptions:
    """How shards are written.

    Attributes:
        limits: when a shard is full.
        order: `shuffled` once by `seed`, so that neighbours in a shard are unrelated; or `as_is`.
        seed: of the order and of every choice of images.
        damaged: an image that can't be decoded is an `error`, or is left out and listed (`skip`).
        overwrite: replace a packed data set that is already there.
    """

    limits: ShardLimits = field(default_factory=ShardLimits)
    order: Literal["shuffled", "as_is"] = "shuffled"
    seed: int = 0
    damaged: Literal["error", "skip"] = "error"
    overwrite: bool = False


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


@dataclass(frozen=True)
class PackReport:
    """What was written.

    Attributes:
        out: the folder.
        classes: class names in index order.
        splits: by name.
        notes: what was left out, and other things to know.
    """

    out: Path
    classes: tuple[str, ...]
    splits: Mapping[SplitName, PackedSplit]
    notes: tuple[str, ...]


def pack_splits(
    out: Path | str,
    *,
    labeled: Reader | None = None,
    unlabeled: Reader | None = None,
    test: Reader | None = None,
    keep_truth: bool = False,
    source: Mapping[str, Any] | None = None,
    options: PackOptions | None = None,
    progress: Progress | None = None,
) -> PackReport:
    """Write readers as WebDataset shards: `labeled-00000.tar` and so on, `classes.txt` and `dataset.json`.

    The same readers and options give the same bytes. The folder appears when it is complete.

    Args:
        out: the folder to make.
        labeled: every image has a label.
        unlabeled: labels are dropped unless `keep_truth` is set.
        test: every image has a label.
        keep_truth: keep the labels of unlabeled images, for diagnostics.
        source: where the images come from, for `dataset.json`.
        options: how.
        progress: told how far it is.

    Raises:
        UserError, DataError: nothing to write, a label is missing, classes differ, or `out` can't be written.
        RunError: the disk is full.
    """
    options = options or PackOptions()
    readers = _readers(labeled, unlabeled, test, keep_truth)
    classes = _classes(readers)
    job = _Job(sum(map(len, readers.values())), options, progress)
    with new_folder(Path(out), marker=MARKER, overwrite=options.overwrite) as folder:
        splits = {name: job.write(folder, name, reader) for name, reader in readers.items()}
        report = PackReport(Path(out), classes, splits, tuple(dict.fromkeys(job.notes)))
        if classes:
            (folder / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
        (folder / MARKER).write_text(_description(report, options, source or {}), encoding="utf-8")
    return report


@dataclass
class _Job:
    """Counts samples over all splits and gathers what the user should know."""

    total: int
    options: PackOptions
    progress: Progress | None
    notes: list[str] = field(default_factory=list)
    done: int = 0

    def write(self, folder: Path, split: SplitName, reader: Reader) -> PackedSplit:
        """One split."""
        written: list[int] = []
        shards = write_shards(folder, split, self._samples(split, reader, written), self.options.limits)
        if not written:
            raise DataError(f"{split}: not one image could be decoded; the first problem: {self.notes[-1]}")
        self.notes += reader.notes
        labels = reader.labels[written]
        counts = np.bincount(labels[labels != UNKNOWN], minlength=len(reader.classes))
        return PackedSplit(len(written), tuple(counts.tolist()) if counts.any() else (), tuple(shards))

    def _samples(self, split: SplitName, reader: Reader, written: list[int]) -> Iterator[Members]:
        for number in _order(split, len(reader), self.options):
            try:
                members = encode(number, reader.read(number))
            except DataError as error:
                if self.options.damaged == "error":
                    raise DataError(f"{split}: {error} (or leave out what is damaged with --skip-damaged)") from error
                self.notes.append(f"{split}: left out: {error}")
            else:
                written.append(number)
                yield members
            self.done += 1
            if self.progress is not None:
                self.progress(self.done, self.total)


def _order(split: SplitName, count: int, options: PackOptions) -> list[int]:
    if options.order == "as_is":
        return list(range(count))
    # A stream of its own for each split: adding a test split must not reorder the labeled one.
    seed = np.random.SeedSequence([options.seed, _NAMES.index(split)])
    order: list[int] = np.random.default_rng(seed).permutation(count).tolist()
    return order


def _readers(
    labeled: Reader | None, unlabeled: Reader | None, test: Reader | None, keep_truth: bool
) -> dict[SplitName, Reader]:
    if unlabeled is not None and not keep_truth:
        unlabeled = WithoutLabels(unlabeled)
    found = {
        name: reader for name, reader in zip(_NAMES, (labeled, unlabeled, test), strict=True) if reader is not None
    }
    if not found:
        raise UserError("nothing to pack: give labeled, unlabeled or test images")
    for name, reader in found.items():
        missing = np.flatnonzero(reader.labels == UNKNOWN)
        if not len(reader):
            raise DataError(f"{name}: no images to pack")
        if name != "unlabeled" and len(missing):
            raise DataError(
                f"{name}: {len(missing):,} of {len(reader):,} images have no label, the first is "
                f"{reader.read(int(missing[0])).key}; pack those as unlabeled"
            )
    return found


def _classes(readers: Mapping[SplitName, Reader]) -> tuple[str, ...]:
    names = [name for name, reader in readers.items() if reader.classes]
    for name in names[1:]:
        same_classes(names[0], readers[names[0]], name, readers[name])
    classes = tuple(readers[names[0]].classes) if names else ()
    if len(classes) == 1:
        raise DataError(f"there is only one class, {classes[0]!r}; at least two are needed to tell apart")
    # A name that begins with a bracket would make classes.txt look like JSON.
    unfit = next((n for n in classes if n != n.strip() or len(n.splitlines()) != 1 or n.startswith("[")), None)
    if unfit is not None:
        raise DataError(f"class name {unfit!r} doesn't fit on a line of classes.txt; rename it")
    twice = next((name for name in classes if classes.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"class name {twice!r} occurs more than once; class names must differ")
    return classes


def _description(report: PackReport, options: PackOptions, source: Mapping[str, Any]) -> str:
    splits = {
        name: {**asdict(split), "bytes": sum(shard.bytes for shard in split.shards)}
        for name, split in report.splits.items()
    }
    content = {
        "format": FORMAT_VERSION,
        "classes": report.classes,
        "splits": splits,
        "seed": options.seed,
        "order": options.order,
        "source": dict(source),
        "notes": report.notes,
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
