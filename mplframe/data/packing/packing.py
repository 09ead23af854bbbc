"""Readers into a packed data set: shards, class names and a description, written as one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import SplitName
from mplframe.data.packing.split_packing import JOURNAL, Journal, PackedSplit, PackOptions, SplitPacker
from mplframe.data.readers.base import Reader, WithoutLabels, digest, same_classes
from mplframe.errors import DataError, UserError
from mplframe.io.output import Output, check_free, local_folder, new_folder, new_remote

FORMAT_VERSION = 1
MARKER = "dataset.json"
PackedName = SplitName | Literal["held_out"]
"""Splits of a packed data set; a run takes what is held out where it is named as its test images."""

_NAMES: tuple[PackedName, ...] = ("labeled", "unlabeled", "test", "held_out")

Progress = Callable[[int, int], None]
"""Called with the number of samples done, and of all."""


@dataclass(frozen=True)
class PackReport:
    """What was written.

    Attributes:
        out: the folder or URL.
        classes: class names in index order.
        splits: by name.
        notes: what was left out, and other things to know.
    """

    out: str
    classes: tuple[str, ...]
    splits: Mapping[PackedName, PackedSplit]
    notes: tuple[str, ...]


def pack_splits(
    out: Path | str,
    *,
    labeled: Reader | None = None,
    unlabeled: Reader | None = None,
    test: Reader | None = None,
    held_out: Reader | None = None,
    keep_truth: bool = False,
    source: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    options: PackOptions | None = None,
    progress: Progress | None = None,
) -> PackReport:
    """Write readers as WebDataset shards: `labeled-00000.tar` and so on, `classes.txt` and `dataset.json`.

    The same readers and options give the same bytes. A folder appears when it is complete; in a store `dataset.json`
    comes last. What was killed is gone on with, shard by shard, when it is called again with the same arguments.

    Args:
        out: the folder to make, or the URL of a place in a store.
        labeled: every image has a label.
        unlabeled: labels are dropped unless `keep_truth` is set.
        test: every image has a label.
        held_out: likewise; for tuning.
        keep_truth: keep the labels of unlabeled images, for diagnostics.
        source: where the images come from, for `dataset.json`.
        notes: on what was left out before.
        options: how.
        progress: told how far it is.

    Raises:
        UserError, DataError: nothing to write, a label is missing, classes differ, or `out` can't be written.
        RunError: the disk is full.
    """
    options = options or PackOptions()
    if unlabeled is not None and not keep_truth:
        unlabeled = WithoutLabels(unlabeled)
    given = dict(zip(_NAMES, (labeled, unlabeled, test, held_out), strict=True))
    readers = {name: reader for name, reader in given.items() if reader is not None}
    _check(readers)
    classes = _classes(readers)
    count = _Count(sum(map(len, readers.values())), progress)
    with new_output(out, overwrite=options.overwrite) as output:
        journal = Journal(output.folder, _identity(readers, options), restart=options.overwrite)
        packer = SplitPacker(output, journal, options, count.add)
        splits = {name: packer.write(name, reader, _NAMES.index(name)) for name, reader in readers.items()}
        report = PackReport(str(out), classes, splits, tuple(dict.fromkeys([*notes, *packer.notes])))
        if classes:
            _write(output, "classes.txt", "".join(f"{name}\n" for name in classes))
        _write(output, MARKER, _description(report, options, source or {}))
    return report


def new_output(out: Path | str, *, overwrite: bool) -> AbstractContextManager[Output]:
    """Where a packed data set is written to: a folder, or a place in a store."""
    folder = local_folder(out)
    if folder is None:
        return new_remote(str(out), overwrite=overwrite, journal=JOURNAL)
    return new_folder(folder, marker=MARKER, overwrite=overwrite, journal=JOURNAL)


def check_output(out: Path | str, *, overwrite: bool) -> None:
    """Check that a folder may be written, before time is taken to read what goes into it.

    Raises:
        OutputExistsError, UserError: it may not.
    """
    folder = local_folder(out)
    if folder is not None:
        check_free(folder, marker=MARKER, overwrite=overwrite)


@dataclass
class _Count:
    """Samples done, over all splits."""

    total: int
    progress: Progress | None
    done: int = 0

    def add(self, samples: int) -> None:
        self.done += samples
        if samples and self.progress is not None:
            self.progress(self.done, self.total)


def _identity(readers: Mapping[PackedName, Reader], options: PackOptions) -> str:
    """What the bytes of the shards depend on."""
    splits = [text for name, reader in readers.items() for text in (name, reader.digest)]
    return digest(repr((FORMAT_VERSION, options.limits, options.order, options.seed)), *splits)


def _write(output: Output, name: str, text: str) -> None:
    file = output.folder / name
    file.write_text(text, encoding="utf-8")
    output.add(file)


def _check(readers: Mapping[PackedName, Reader]) -> None:
    if not readers:
        raise UserError("nothing to pack: give labeled, unlabeled or test images")
    for name, reader in readers.items():
        missing = np.flatnonzero(reader.labels == UNKNOWN)
        if not len(reader):
            raise DataError(f"{name}: no images to pack")
        if name != "unlabeled" and len(missing):
            raise DataError(
                f"{name}: {len(missing):,} of {len(reader):,} images have no label, the first is "
                f"{reader.read(int(missing[0])).key}; pack those as unlabeled"
            )


def _classes(readers: Mapping[PackedName, Reader]) -> tuple[str, ...]:
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
    twice = [name for name, count in Counter(classes).items() if count > 1]
    if twice:
        raise DataError(f"class name {twice[0]!r} occurs more than once; class names must differ")
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
