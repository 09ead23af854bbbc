"""SVHN's cropped digits (format 2), as Matlab files from the official site."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mplframe.data.readers.arrays import ArrayReader
from mplframe.errors import DataError

CLASSES = tuple(str(digit) for digit in range(10))


def svhn(root: Path, part: Literal["train", "test", "extra"]) -> ArrayReader:
    """The images of `<part>_32x32.mat` in file order, [32, 32, 3] each; label 10 in the file is the digit 0.

    Raises:
        DataError: the file is missing, damaged, or of another shape.
    """
    path = svhn_file(root, part)
    if not path.is_file():
        raise DataError(f"{root}: no {path.name} in it; SVHN's parts are train_, test_ and extra_32x32.mat")
    images, labels = _load(path)
    return ArrayReader(images, labels, classes=CLASSES, where=str(path))


def svhn_file(root: Path, part: Literal["train", "test", "extra"]) -> Path:
    """Where a part lies."""
    return root / f"{part}_32x32.mat"


def _load(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path, variable_names=("X", "y"))
    except (MatReadError, OSError, ValueError, TypeError, NotImplementedError, zlib.error) as error:
        raise DataError(f"{path}: not a readable Matlab file: {error}") from error
    if "X" not in content or "y" not in content:
        raise DataError(f"{path}: has no X and y; it isn't SVHN's cropped digits (format 2)")
    images, labels = content["X"], content["y"].reshape(-1)  # [32, 32, 3, N], [N]
    if images.ndim != 4:
        raise DataError(f"{path}: X should be [32, 32, 3, N], it is {list(images.shape)}")
    wrong = np.flatnonzero((labels < 1) | (labels > 10))
    if len(wrong):
        raise DataError(f"{path}: label {labels[wrong[0]]} of image {wrong[0]} is unknown; labels must be 1 to 10")
    return images.transpose(3, 0, 1, 2), labels % 10
