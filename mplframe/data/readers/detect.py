"""From a path to readers: finds out the layout and opens every part of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from mplframe.data.readers.arrays import idx_file, idx_folder, numpy_file
from mplframe.data.readers.base import Reader
from mplframe.data.readers.files import Place, entries, image_folder, is_sample, is_url, labeled_folder
from mplframe.data.readers.parquet import (
    TEST,
    TRAIN,
    UNLABELED,
    Columns,
    choose_test,
    image_folder_with_metadata,
    metadata_file,
    parquet,
    parquet_splits,
)
from mplframe.data.readers.published import cifar, cifar_folder, stl10, stl10_folder, svhn, svhn_file
from mplframe.data.readers.table import table
from mplframe.errors import DataError, UserError, nearest

Format = Literal[
    "folder", "imagefolder", "csv", "jsonl", "parquet", "idx", "numpy", "cifar10", "cifar100", "svhn", "stl10"
]

FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True)
class Source:
    """A data set on disk.

    Attributes:
        format: its layout; `shards` for those that `readers.packed` opens without knowing where they came from.
        train: its training images.
        test: its own test images, where the layout has them.
        extra: images that are unlabeled whatever is chosen (SVHN's extra ones, STL-10's unlabeled ones).
        notes: what was left out.
        place: where it lies.
    """

    format: str
    train: Reader
    test: Reader | None = None
    extra: Reader | None = None
    notes: Sequence[str] = ()
    place: str = ""


def open_source(place: Place, format: str = "auto", columns: Columns | None = None) -> Source:
    """Open a data set.

    Args:
        place: the folder or file; as text it may be the URL of a list, of Parquet files or of a folder of those.
        format: one of `FORMATS`, or `auto` to find it out.
        columns: which columns of a table to take.

    Raises:
        UserError: there is no such format.
        DataError: nothing is there, its layout isn't known, or a file in it can't be used.
    """
    if format != "auto" and format not in FORMATS:
        allowed = ("auto", *FORMATS)
        raise UserError(f"unknown format {format!r}{nearest(format, allowed)} (allowed: {', '.join(allowed)})")
    if not is_url(place):
        place = Path(place)
        if not place.exists():
            raise DataError(f"{place}: no such file or folder")
    found = detect(place) if format == "auto" else format
    if found in _LISTS:
        return replace(_LISTS[found](place, columns or Columns()), place=str(place))
    if columns is not None and columns != Columns():
        raise UserError(f"{place}: columns can be named in a CSV, JSON lines or Parquet file, this is {found}")
    if isinstance(place, str):
        raise UserError(f"{place}: {found} can't be read by URL, only lists ({', '.join(_LISTS)}); copy it to a disk")
    return replace(_OPEN[found](place), place=str(place))


def detect(place: Place) -> Format:
    """The layout of what lies at a place.

    Raises:
        DataError: it is none that is known; lists those that are.
    """
    for suffix, format in _SUFFIXES.items():
        if str(place).lower().endswith(suffix):
            return format
    if isinstance(place, str):
        return "parquet"
    for format, holds in _DETECT.items():
        if holds(place):
            return format
    raise DataError(
        f"{place}: a layout that isn't known. Known are: a folder with a subfolder of images for each class (folder), "
        "the same with metadata.csv or metadata.jsonl (imagefolder), a .csv or .jsonl file with the columns path and "
        "label (csv, jsonl), such a .parquet file or one with images in it, or a folder of them (parquet), MNIST's "
        "train-images-idx3-ubyte[.gz] and so on (idx), an .npz file or a folder with images.npy and labels.npy "
        "(numpy), cifar-10-batches-py (cifar10), cifar-100-python (cifar100), train_32x32.mat and test_32x32.mat "
        "(svhn), stl10_binary (stl10)"
    )


def _present(find: Callable[[], object]) -> bool:
    try:
        find()
    except DataError:
        return False
    return True


_SUFFIXES: Mapping[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet", ".npz": "numpy"}

_DETECT: Mapping[Format, Callable[[Path], bool]] = {
    "numpy": lambda path: (path / "images.npy").is_file(),
    "cifar10": lambda path: _present(lambda: cifar_folder(path, "cifar10")),
    "cifar100": lambda path: _present(lambda: cifar_folder(path, "cifar100")),
    "svhn": lambda path: svhn_file(path, "train").is_file(),
    "stl10": lambda path: _present(lambda: stl10_folder(path)),
    "idx": lambda path: _present(lambda: idx_file(path, "train", "images")),
    "imagefolder": lambda path: any(metadata_file(folder) for folder in [path, *_split_folders(path).values()]),
    "parquet": lambda path: any(any(path.glob(f"{depth}*.parquet")) for depth in ("", "*/", "*/*/")),
    "folder": lambda path: path.is_dir() and _has_images(path),
}


def _has_images(path: Path) -> bool:
    """Whether a folder has subfolders or images: what is wrong with them, its reader says best."""
    folders, files = entries(path)
    return bool(folders) or any(is_sample(file) for file in files)


def _folder(path: Path) -> Source:
    parts = _train_and_test(path)
    if parts is None:
        return Source("folder", image_folder(path))
    train = labeled_folder(parts[0])
    return Source("folder", train, labeled_folder(parts[1], train.classes))


def _image_folder(path: Path) -> Source:
    """With a metadata file, in it or in its `train` and its test folder."""
    parts = None if metadata_file(path) else _train_and_test(path)
    if parts is None:
        return Source("imagefolder", image_folder_with_metadata(path))
    train = image_folder_with_metadata(parts[0])
    return Source("imagefolder", train, image_folder_with_metadata(parts[1], train.classes))


def _split_folders(path: Path) -> dict[str, Path]:
    """The subfolders of a folder by name, where each is the name of a split and one is `train`; else none."""
    folders = {folder.name: folder for folder in entries(path)[0]} if path.is_dir() else {}
    return folders if "train" in folders and folders.keys() <= {"train", *TEST} else {}


def _train_and_test(path: Path) -> tuple[Path, Path] | None:
    """The two subfolders of a folder that holds `train` and one for testing, and nothing else."""
    folders = _split_folders(path)
    others = [folders[name] for name in TEST if name in folders]
    if len(others) > 1:
        names = " and ".join(folder.name for folder in others)
        raise DataError(f"{path}: holds both {names}; only one is used, so move the other one out of it")
    return (folders["train"], others[0]) if others else None


def _parquet(place: Place, columns: Columns) -> Source:
    splits = parquet_splits(place)
    train_name = next((name for name in TRAIN if name in splits), None)
    if train_name is None:
        raise DataError(f"{place}: has the splits {', '.join(splits)} and none named train")
    train = parquet(splits.pop(train_name), columns)
    others = {name: parquet(files, columns, train.classes or None) for name, files in splits.items()}
    test, notes = choose_test(others)
    extra = next((others[name] for name in UNLABELED if name in others), None)
    return Source("parquet", train, test, extra, notes)


def _idx(path: Path) -> Source:
    train, test = idx_folder(path, "train"), idx_folder(path, "test")
    if train.classes != test.classes:
        # The greatest label is missing from one of them: the longer list names every class.
        classes = max(train.classes, test.classes, key=len)
        train, test = idx_folder(path, "train", classes), idx_folder(path, "test", classes)
    return Source("idx", train, test)


def _svhn(path: Path) -> Source:
    extra = svhn(path, "extra") if svhn_file(path, "extra").is_file() else None
    return Source("svhn", svhn(path, "train"), svhn(path, "test"), extra)


def _stl10(path: Path) -> Source:
    extra = stl10(path, "unlabeled") if (stl10_folder(path) / "unlabeled_X.bin").is_file() else None
    return Source("stl10", stl10(path, "train"), stl10(path, "test"), extra)


def _cifar(path: Path, kind: Literal["cifar10", "cifar100"]) -> Source:
    return Source(kind, cifar(path, "train", kind=kind), cifar(path, "test", kind=kind))


_LISTS: Mapping[str, Callable[[Place, Columns], Source]] = {
    "csv": lambda place, columns: Source("csv", table(place, label=columns.label)),
    "jsonl": lambda place, columns: Source("jsonl", table(place, label=columns.label)),
    "parquet": _parquet,
}

_OPEN: Mapping[str, Callable[[Path], Source]] = {
    "folder": _folder,
    "imagefolder": _image_folder,
    "idx": _idx,
    "numpy": lambda path: Source("numpy", numpy_file(path)),
    "cifar10": lambda path: _cifar(path, "cifar10"),
    "cifar100": lambda path: _cifar(path, "cifar100"),
    "svhn": _svhn,
    "stl10": _stl10,
}
