"""Pack images into WebDataset shards: the only form of data that training reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mplframe.data.manifests import read_assignment
from mplframe.data.packing.from_manifest import ManifestReader
from mplframe.data.packing.packing import PackReport, Progress, check_output, pack_splits
from mplframe.data.packing.partition import Amount, Choice, PaperSplit, divide, hold_out
from mplframe.data.packing.split_packing import PackedSplit, PackOptions
from mplframe.data.packing.writer import ShardLimits
from mplframe.data.readers.base import Reader
from mplframe.data.readers.detect import Source, open_source
from mplframe.data.readers.files import Place, labeled_folder, unlabeled_folder
from mplframe.data.readers.parquet import Columns
from mplframe.data.shards.members import class_names
from mplframe.errors import DataError

__all__ = [
    "PackOptions",
    "PackReport",
    "PackedSplit",
    "ShardLimits",
    "pack_folders",
    "pack_manifest",
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
        out: the folder to make, or the URL of a place in a store.
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
    check_output(out, overwrite=options.overwrite)
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
    source: Place | Source,
    format: str = "auto",
    columns: Columns | None = None,
    split: PaperSplit | None = None,
    labeled: Amount | None = None,
    test: Amount | None = None,
    choice: Choice = "stratified",
    keep_truth: bool = False,
    options: PackOptions | None = None,
    progress: Progress | None = None,
) -> PackReport:
    """Pack one data set, divided into labeled, unlabeled and test images.

    Args:
        out: the folder to make, or the URL of a place in a store.
        source: the data set's folder or file, the URL of a list or of Parquet files, or a source that is open.
        format: one of `readers.detect.FORMATS`, or `auto`.
        columns: which columns of a table to take.
        split: a split of the papers, in file order; excludes `labeled` and `test`.
        labeled: how many images stay labeled, a number or a fraction; None keeps every label.
        test: what is held out for testing, a number of images or a fraction; None takes the source's own test images.
        choice: how the labeled images and those held out are chosen.
        keep_truth: keep the labels of unlabeled images, for diagnostics; training never looks at them.
        options: how.
        progress: told how far it is.

    Raises:
        UserError, DataError: the source is missing, damaged or doesn't fit; `out` can't be written.
        RunError: the disk is full.
    """
    options = options or PackOptions()
    check_output(out, overwrite=options.overwrite)
    opened = source if isinstance(source, Source) else open_source(source, format, columns)
    parts = divide(opened, split=split, labeled=labeled, test=test, choice=choice, seed=options.seed)
    return pack_splits(
        out,
        labeled=parts.labeled,
        unlabeled=parts.unlabeled,
        test=parts.test,
        held_out=parts.held_out,
        keep_truth=keep_truth,
        source={
            "source": opened.place,
            "format": opened.format,
            "split": split,
            "labeled": labeled,
            "test": test,
            "choice": choice,
        },
        notes=opened.notes,
        options=options,
        progress=progress,
    )


def pack_manifest(
    out: Path | str,
    *,
    manifest: str,
    classes: int | Sequence[str] | str | None = None,
    options: PackOptions | None = None,
    progress: Progress | None = None,
) -> PackReport:
    """Pack the images that a manifest names: `unlabeled-00000.tar` and so on.

    An image that is repeated is there as often. What was assigned is in each sample's `.assigned.json`, the class also
    in its `.cls`: as unlabeled images they teach what was assigned, as labeled ones just the class.

    Args:
        out: the folder to make, or the URL of a place in a store.
        manifest: made by `mplframe select` from scores of shards; a path or URL.
        classes: as of `class_names`; None names them by number.
        options: how.
        progress: told how far it is.

    Raises:
        UserError, DataError: the manifest or its shards can't be used; `out` can't be written.
        RunError: the disk is full.
    """
    options = options or PackOptions()
    check_output(out, overwrite=options.overwrite)
    assignment = read_assignment(manifest)
    names = class_names(assignment.classes if classes is None else classes)
    if len(names) != assignment.classes:
        raise DataError(f"{manifest} is about {assignment.classes} classes, but {len(names)} are named")
    return pack_splits(
        out,
        unlabeled=ManifestReader(assignment, names),
        keep_truth=True,
        source={"manifest": manifest},
        options=options,
        progress=progress,
    )


def _text(path: object) -> object:
    return str(path) if isinstance(path, Path) else path
