"""From a path to readers: finds out the layout and opens every part of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from mplframe.data.readers.base import Reader
from mplframe.data.readers.cifar import cifar, cifar_folder
from mplframe.data.readers.folder import entries, image_folder, is_image, labeled_folder
from mplframe.data.readers.idx import idx_file, idx_folder
from mplframe.data.readers.numpy_files import numpy_file
from mplframe.data.readers.svhn import svhn, svhn_file
from mplframe.data.readers.table import csv_table
from mplframe.errors import DataError, UserError, nearest

Format = Literal["folder", "csv", "idx", "numpy", "cifar10", "cifar100", "svhn"]

FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True)
class Source:
    """A data set on disk.

    Attributes:
        format: its layout.
        train: its training images.
        test: its own test images, where the layout has them.
        extra: SVHN's extra images, where they are there.
    """

    format: Format
    train: Reader
    test: Reader | None = None
    extra: Reader | None = None


def open_source(path: Path, format: str = "auto") -> Source:
    """Open a data set.

    Args:
        path: the folder or file.
        format: one of `FORMATS`, or `auto` to find it out.

    Raises:
        UserError: there is no such format.
        DataError: the path is missing, its layout isn't known, or a file in it can't be used.
    """
    if format != "auto" and format not in FORMATS:
        allowed = ("auto", *FORMATS)
        raise UserError(f"unknown format {format!r}{nearest(format, allowed)} (allowed: {', '.join(allowed)})")
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    return _OPEN[detect(path) if format == "auto" else format](path)


def detect(path: Path) -> Format:
    """The layout of what lies at a path.

    Raises:
        DataError: it is none that is known; lists those that are.
    """
    for format, holds in _DETECT.items():
        if holds(path):
            return format
    raise DataError(
        f"{path}: a layout that isn't known. Known are: a folder with a subfolder of images for each class (folder), "
        "a .csv file with the columns path and label (csv), MNIST's train-images-idx3-ubyte[.gz] and so on (idx), an "
        ".npz file or a folder with images.npy and labels.npy (numpy), cifar-10-batches-py (cifar10), "
        "cifar-100-python (cifar100), train_32x32.mat and test_32x32.mat (svhn)"
    )


def _present(find: Callable[[], object]) -> bool:
    try:
        find()
    except DataError:
        return False
    return True


_DETECT: Mapping[Format, Callable[[Path], bool]] = {
    "csv": lambda path: path.is_file() and path.suffix.lower() == ".csv",
    "numpy": lambda path: path.suffix.lower() == ".npz" or (path / "images.npy").is_file(),
    "cifar10": lambda path: _present(lambda: cifar_folder(path, "cifar10")),
    "cifar100": lambda path: _present(lambda: cifar_folder(path, "cifar100")),
    "svhn": lambda path: svhn_file(path, "train").is_file(),
    "idx": lambda path: _present(lambda: idx_file(path, "train", "images")),
    "folder": lambda path: path.is_dir() and _has_images(path),
}


def _has_images(path: Path) -> bool:
    """Whether a folder has subfolders or images: what is wrong with them, its reader says best."""
    folders, files = entries(path)
    return bool(folders) or any(is_image(file) for file in files)


def _folder(path: Path) -> Source:
    parts = _train_and_test(path)
    if parts is None:
        return Source("folder", image_folder(path))
    train = labeled_folder(parts[0])
    return Source("folder", train, labeled_folder(parts[1], train.classes))


def _train_and_test(path: Path) -> tuple[Path, Path] | None:
    """The two subfolders of a folder that holds `train` and one of `test` and `val`, and nothing else."""
    folders, _ = entries(path)
    names = {folder.name: folder for folder in folders}
    if names.keys() == {"train", "test", "val"}:
        raise DataError(f"{path}: holds both test and val; only one is used, so move the other one out of it")
    others = names.keys() - {"train"}
    if len(names) != 2 or "train" not in names or not others <= {"test", "val"}:
        return None
    return names["train"], names[others.pop()]


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


_OPEN: Mapping[str, Callable[[Path], Source]] = {
    "folder": _folder,
    "csv": lambda path: Source("csv", csv_table(path)),
    "idx": _idx,
    "numpy": lambda path: Source("numpy", numpy_file(path)),
    "cifar10": lambda path: Source(
        "cifar10", cifar(path, "train", kind="cifar10"), cifar(path, "test", kind="cifar10")
    ),
    "cifar100": lambda path: Source(
        "cifar100", cifar(path, "train", kind="cifar100"), cifar(path, "test", kind="cifar100")
    ),
    "svhn": _svhn,
}
