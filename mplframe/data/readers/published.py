"""Published binary data sets: CIFAR, SVHN, STL-10."""

from __future__ import annotations

import io
import pickle
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from mplframe.data.readers.arrays import ArrayReader
from mplframe.data.readers.files import read_bytes
from mplframe.errors import DataError


@dataclass(frozen=True)
class _Layout:
    folder: str
    train: Sequence[str]
    test: Sequence[str]
    meta: str
    names: str
    labels: str


_LAYOUTS = {
    "cifar10": _Layout(
        "cifar-10-batches-py",
        tuple(f"data_batch_{i}" for i in range(1, 6)),
        ("test_batch",),
        "batches.meta",
        "label_names",
        "labels",
    ),
    "cifar100": _Layout("cifar-100-python", ("train",), ("test",), "meta", "fine_label_names", "fine_labels"),
}


def cifar(root: Path, part: Literal["train", "test"], *, kind: Literal["cifar10", "cifar100"]) -> ArrayReader:
    """The training or test images in download order, [32, 32, 3] each.

    Args:
        root: `cifar-10-batches-py` or `cifar-100-python`, or the folder that holds it.
        part: which.
        kind: CIFAR-100 comes with its 100 fine classes.

    Raises:
        DataError: a file is missing, damaged, holds anything but plain data, or counts differ.
    """
    layout = _LAYOUTS[kind]
    folder = cifar_folder(root, kind)
    (names,) = _entries(folder / layout.meta, layout.names)
    batches = [_batch(folder / name, layout.labels) for name in (layout.train if part == "train" else layout.test)]
    images, labels = (np.concatenate(column) for column in zip(*batches, strict=True))
    return ArrayReader(images, labels, classes=[str(name) for name in names], where=f"{folder} ({part})")


def cifar_folder(root: Path, kind: Literal["cifar10", "cifar100"]) -> Path:
    """The folder with the batches: `root` or its well-known subfolder.

    Raises:
        DataError: neither holds them.
    """
    layout = _LAYOUTS[kind]
    for folder in (root, root / layout.folder):
        if (folder / layout.meta).is_file() and (folder / layout.test[0]).is_file():
            return folder
    raise DataError(
        f"{root}: no {layout.folder} with {layout.meta}, {layout.train[0]} and so on; unpack the python version of "
        f"{kind} there and name the folder"
    )


def safe_unpickle(path: Path) -> Any:
    """What a pickle holds, if it holds nothing but plain Python values and numpy arrays; runs no code from the file.

    Raises:
        DataError: it is missing, damaged, or refers to anything else.
    """
    try:
        return _Plain(io.BytesIO(read_bytes(path)), encoding="latin1").load()
    except (
        pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError,
        MemoryError,
    ) as error:  # fmt: skip
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a pickle of plain arrays: {error}") from error


def _latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 spells bytes; other encodings have no place in these files."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"the encoding {encoding} isn't allowed")
    return text.encode("latin1")


_PRIVATE: Sequence[tuple[str, Any]] = (
    ("multiarray", np.empty(0).__reduce__()[0]),
    ("numeric", np.empty(0).__reduce_ex__(5)[0]),
)
"""The functions that numpy arrays are rebuilt with, and the private modules that pickles look for them in."""

_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
    # `numpy.core` became `numpy._core` in numpy 2; files name either.
    **{(f"numpy.{c}.{module}", f.__name__): f for c in ("core", "_core") for module, f in _PRIVATE},
}


@final
class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which isn't allowed in a data file") from None


def _entries(path: Path, *keys: str) -> list[Any]:
    content = safe_unpickle(path)
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise DataError(f"{path}: has no entry {missing[0]!r}; it isn't a file of this data set")
    return [content[key] for key in keys]


def _batch(path: Path, key: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """[N, 32, 32, 3] and [N] from rows of 3,072 bytes: the red plane, the green, the blue."""
    data, labels = (np.asarray(entry) for entry in _entries(path, "data", key))
    if data.ndim != 2 or data.shape[1] != 3 * 32 * 32:
        raise DataError(f"{path}: its rows should have 3,072 bytes, its shape is {list(data.shape)}")
    if labels.shape != data.shape[:1]:
        raise DataError(f"{path}: {len(data)} images but labels of shape {list(labels.shape)}; fetch it again")
    return data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


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
