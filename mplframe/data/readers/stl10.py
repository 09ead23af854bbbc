"""STL-10's binary files, with its unlabeled images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mplframe.data.readers.arrays import ArrayReader
from mplframe.errors import DataError

_SIDE = 96
_BYTES = 3 * _SIDE * _SIDE
Part = Literal["train", "test", "unlabeled"]


def stl10(root: Path, part: Part) -> ArrayReader:
    """The images of `<part>_X.bin` in file order, [96, 96, 3] each; label 1 in `<part>_y.bin` is the first class.

    Args:
        root: `stl10_binary`, or the folder that holds it.
        part: which; the unlabeled images have no labels.

    Raises:
        DataError: a file is missing, or its size doesn't fit.
    """
    folder = stl10_folder(root)
    names = (folder / "class_names.txt").read_text(encoding="utf-8").split()
    images = _images(folder / f"{part}_X.bin")
    labels = None if part == "unlabeled" else _labels(folder / f"{part}_y.bin", len(names))
    return ArrayReader(images, labels, classes=names, where=str(folder / f"{part}_X.bin"))


def stl10_folder(root: Path) -> Path:
    """The folder with the binary files: `root` or its well-known subfolder.

    Raises:
        DataError: neither holds them.
    """
    for folder in (root, root / "stl10_binary"):
        if (folder / "train_X.bin").is_file() and (folder / "class_names.txt").is_file():
            return folder
    raise DataError(f"{root}: no stl10_binary with train_X.bin, train_y.bin, class_names.txt and so on")


def _images(path: Path) -> npt.NDArray[Any]:
    """[N, 96, 96, 3], memory-mapped: planes of red, green and blue, each column by column."""
    size = path.stat().st_size if path.is_file() else 0
    if not size or size % _BYTES:
        raise DataError(f"{path}: has {size:,} bytes, not a multiple of the {_BYTES:,} of an image; fetch it again")
    return np.memmap(path, np.uint8, mode="r").reshape(-1, 3, _SIDE, _SIDE).transpose(0, 3, 2, 1)


def _labels(path: Path, classes: int) -> npt.NDArray[Any]:
    if not path.is_file():
        raise DataError(f"{path.parent}: no {path.name} in it")
    labels = np.fromfile(path, np.uint8)
    wrong = np.flatnonzero((labels < 1) | (labels > classes))
    if len(wrong):
        raise DataError(
            f"{path}: label {labels[wrong[0]]} of image {wrong[0]} is unknown; labels must be 1 to {classes}"
        )
    return labels.astype(np.int64) - 1
