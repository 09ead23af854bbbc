"""The idx files of MNIST and its relatives (Fashion-MNIST, KMNIST), as they are or gzipped."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mplframe.data.readers.arrays import ArrayReader
from mplframe.data.readers.files import read_bytes
from mplframe.errors import DataError

_UINT8 = 8
_PREFIX: dict[str, str] = {"train": "train", "test": "t10k"}


def idx_folder(root: Path, part: Literal["train", "test"], classes: Sequence[str] | None = None) -> ArrayReader:
    """The training or test part of a folder with the files `train-images-idx3-ubyte[.gz]`, `t10k-labels-...`.

    Args:
        root: the folder.
        part: which pair of files.
        classes: class names in index order; None names them by number.

    Raises:
        DataError: a file is missing or damaged, or counts differ.
    """
    images = read_idx(idx_file(root, part, "images"))
    labels = read_idx(idx_file(root, part, "labels"))
    return ArrayReader(images, labels, classes=classes, where=f"{root} ({part})")


def idx_file(root: Path, part: Literal["train", "test"], what: Literal["images", "labels"]) -> Path:
    """The path of one of the four files; the first spelling that is there.

    Raises:
        DataError: none is there; lists the spellings.
    """
    stem, rank = f"{_PREFIX[part]}-{what}", {"images": 3, "labels": 1}[what]
    names = [f"{stem}{dot}idx{rank}-ubyte{end}" for dot in "-." for end in ("", ".gz")]
    found = next((root / name for name in names if (root / name).is_file()), None)
    if found is None:
        raise DataError(f"{root}: no file {names[1]} (or {names[0]})")
    return found


def read_idx(path: Path) -> npt.NDArray[Any]:
    """An idx file of unsigned bytes: two zeros, a type, the rank, the big-endian lengths, the data. gzip is undone.

    Raises:
        DataError: it can't be read, isn't of that format, or is cut short.
    """
    data = read_bytes(path)
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path}: damaged gzip file: {error}") from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != _UINT8:
        raise DataError(f"{path}: not an idx file of unsigned bytes (it starts with {data[:4].hex(' ') or 'nothing'})")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise DataError(f"{path}: cut short within its header")
    shape = tuple(int(length) for length in np.frombuffer(data, ">u4", count=data[3], offset=4))
    needed = start + int(np.prod(shape, dtype=np.int64))
    if len(data) != needed:
        raise DataError(f"{path}: {len(data):,} bytes, where its header {list(shape)} needs {needed:,}; fetch it again")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
