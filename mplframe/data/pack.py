"""Pack images into WebDataset shards: the only form of data that training reads."""

from __future__ import annotations

from pathlib import Path

from mplframe.data.output import check_free
from mplframe.data.packing import MARKER, PackedSplit, PackOptions, PackReport, Progress, pack_splits
from mplframe.data.partition import Amount, PaperSplit, divide, hold_out, paper_split
from mplframe.data.readers.base import Reader
from mplframe.data.readers.detect import open_source
from mplframe.data.readers.folder import labeled_folder, unlabeled_folder
from mplframe.data.writer import ShardLimits
from mplframe.errors import UserError

__all__ = [
    "PackOptions",
    "PackReport",
    "PackedSplit",
    "ShardLimits",
    "pack_folders",
    "pack_source",
    "pack_splits",
]


def pack_folders(
    out: Path | str,
    *,
    labeled: Path | str,
    unlabeled: Path | str | None = None,
    test: Path | str | Amount | None = None,
    options: PackOptions | None = None,
    progress: Progress | None = None,
) -> PackReport:
    """Pack a folder of labeled images and a folder of unlabeled ones.

    Args:
        out: the folder to make.
        labeled: has one subfolder of images for each class.
        unlabeled: has images at any depth; names of folders in it mean nothing.
        test: a folder like `labeled`, or what is held out of `labeled`: a number of images, or a fraction of them.
        options: how.
        progress: told how far it is.

    Raises:
        UserError, DataError: a folder is missing, empty or doesn't fit; `out` can't be written.
        RunError: the disk is full.
    """
    options = options or PackOptions()
    check_free(Path(out), marker=MARKER, overwrite=options.overwrite)
    known: Reader = labeled_folder(Path(labeled))
    held_out: Reader | None = None
    if isinstance(test, int | float):
        known, held_out = hold_out(known, test, options.seed)
    elif test is not None:
        held_out = labeled_folder(Path(test), known.classes)
    return pack_splits(
        out,
        labeled=known,
        unlabeled=None if unlabeled is None else unlabeled_folder(Path(unlabeled)),
        test=held_out,
        source={"labeled": str(labeled), "unlabeled": _text(unlabeled), "test": _text(test)},
        options=options,
        progress=progress,
    )


def pack_source(
    out: Path | str,
    *,
    source: Path | str,
    format: str = "auto",
    split: PaperSplit | None = None,
    labeled: int | None = None,
    test: Amount | None = None,
    keep_truth: bool = False,
    options: PackOptions | None = None,
    progress: Progress | None = None,
) -> PackReport:
    """Pack one data set, divided into labeled, unlabeled and test images.

    Args:
        out: the folder to make.
        source: the data set's folder or file.
        format: one of `readers.detect.FORMATS`, or `auto`.
        split: a split of the papers, in file order; excludes `labeled` and `test`.
        labeled: how many images stay labeled, each class alike; None keeps every label.
        test: what is held out for testing, a number of images or a fraction; None takes the source's own test images.
        keep_truth: keep the labels of unlabeled images, for diagnostics; training never looks at them.
        options: how.
        progress: told how far it is.

    Raises:
        UserError, DataError: the source is missing, damaged or doesn't fit; `out` can't be written.
        RunError: the disk is full.
    """
    options = options or PackOptions()
    check_free(Path(out), marker=MARKER, overwrite=options.overwrite)
    if split is not None and (labeled is not None or test is not None):
        raise UserError(f"the split {split} says what is labeled and what is test; leave `labeled` and `test` unset")
    opened = open_source(Path(source), format)
    if split is not None:
        parts = paper_split(opened, split)
    else:
        parts = divide(opened, labeled=labeled, test=test, seed=options.seed)
    return pack_splits(
        out,
        labeled=parts.labeled,
        unlabeled=parts.unlabeled,
        test=parts.test,
        keep_truth=keep_truth,
        source={"source": str(source), "format": opened.format, "split": split, "labeled": labeled, "test": test},
        options=options,
        progress=progress,
    )


def _text(path: object) -> object:
    return str(path) if isinstance(path, Path) else path
