"""Images in arrays: NumPy files and idx files."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from mplframe.contracts.batch import UNKNOWN
from mplframe.data.readers.base import Images, Labels, Reader, Record, digest
from mplframe.data.readers.files import read_bytes
from mplframe.errors import DataError, nearest

_BATCH = 1024
"""Images that a digest takes at a time."""


@final
class ArrayReader(Reader):
    """Images and labels in arrays.

    Args:
        images: [N, H, W] or [N, H, W, C] uint8 with 1 or 3 channels.
        labels: [N] whole numbers in [0, classes), or `UNKNOWN` (-1); None where nothing is labeled.
        classes: class names in index order; None names the classes 0, 1, ... up to the greatest label.
        where: the file or folder that they come from, for error messages.

    Raises:
        DataError: a shape, a dtype, a count or a label doesn't fit.
    """

    def __init__(
        self,
        images: npt.NDArray[Any],
        labels: npt.NDArray[Any] | None = None,
        *,
        classes: Sequence[str] | None = None,
        where: str,
    ) -> None:
        self._images = check_images(images, where)
        self._labels = check_labels(labels, len(images), None if classes is None else len(classes), where)
        self._classes = tuple(classes) if classes is not None else _numbered(self._labels)

    @property
    def classes(self) -> Sequence[str]:
        return self._classes

    @property
    def labels(self) -> Labels:
        return self._labels

    @cached_property
    def digest(self) -> str:
        batches = range(0, len(self._images), _BATCH)
        return digest(
            repr((self._images.shape, self._classes)),
            self._labels,
            *(digest(self._images[at : at + _BATCH]) for at in batches),
        )

    def read(self, index: int) -> Record:
        label = int(self._labels[index])
        # [H, W, C]; a copy, so that a record doesn't keep a whole file's array alive.
        return Record(str(index), self._images[index].copy(), "png", None if label == UNKNOWN else label)


def check_images(images: npt.NDArray[Any], where: str) -> Images:
    """[N, H, W] or [N, H, W, C] -> [N, H, W, C] uint8, without a copy.

    Raises:
        DataError: it isn't uint8, isn't of that shape, has other than 1 or 3 channels, or is empty.
    """
    if images.dtype != np.uint8:
        raise DataError(
            f"{where}: images must be uint8 (0 to 255), these are {images.dtype}; "
            "convert them first, say with `(images * 255).round().astype('uint8')` for floats in [0, 1]"
        )
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise DataError(
            f"{where}: images must be [N, height, width] or [N, height, width, channels] with 1 or 3 channels, "
            f"these are {list(images.shape)}"
        )
    if not images.size:
        raise DataError(f"{where}: holds no images (its shape is {list(images.shape)})")
    return images


def check_labels(labels: npt.NDArray[Any] | None, count: int, classes: int | None, where: str) -> Labels:
    """[N] int64 labels in [0, classes) or `UNKNOWN`; all unknown for None.

    Raises:
        DataError: they aren't whole numbers, aren't `count` many, or one is out of range.
    """
    if labels is None:
        return np.full(count, UNKNOWN, dtype=np.int64)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{where}: labels must be [N] whole numbers, these are {list(labels.shape)} of {labels.dtype}")
    if len(labels) != count:
        raise DataError(f"{where}: {count} images but {len(labels)} labels; there must be one label an image")
    found = labels.astype(np.int64)
    highest = np.iinfo(np.int64).max if classes is None else classes - 1
    wrong = np.flatnonzero((found < UNKNOWN) | (found > highest))
    if len(wrong):
        allowed = "0 or greater" if classes is None else f"in 0 to {highest}"
        raise DataError(
            f"{where}: label {found[wrong[0]]} of image {wrong[0]} is unknown; labels must be {allowed} "
            f"({UNKNOWN} means none)"
        )
    return found


def _numbered(labels: Labels) -> tuple[str, ...]:
    return tuple(str(number) for number in range(int(labels.max(initial=UNKNOWN)) + 1))


def numpy_file(path: Path) -> ArrayReader:
    """An .npz file with `images` and perhaps `labels`, or a folder with images.npy and perhaps labels.npy.

    Images are [N, H, W] or [N, H, W, C] uint8; those of a folder are memory-mapped. Labels are [N] whole numbers, -1
    for none. A `classes` array of names is used where there is one; else classes are numbered.

    Raises:
        DataError: a file is missing or damaged, a shape or dtype doesn't fit, or counts differ.
    """
    arrays = _from_folder(path) if path.is_dir() else _from_npz(path)
    names = arrays.get("classes")
    return ArrayReader(
        arrays["images"],
        arrays.get("labels"),
        classes=None if names is None else [str(name) for name in names],
        where=str(path),
    )


def _from_folder(root: Path) -> dict[str, npt.NDArray[Any]]:
    found = {name: root / f"{name}.npy" for name in ("images", "labels", "classes")}
    if not found["images"].is_file():
        raise DataError(f"{root}: no images.npy in it")
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, path in found.items():
        if path.is_file():
            try:
                arrays[name] = np.load(path, mmap_mode="r" if name == "images" else None, allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise DataError(f"{path}: not a plain .npy file: {error}") from error
    return arrays


def _from_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: not an .npz file; put images.npy and labels.npy into a folder and name that")
            if "images" not in archive:
                near = nearest("images", archive.files)
                raise DataError(f"{path}: no array `images`{near} (it holds {', '.join(archive.files) or 'nothing'})")
            return {name: archive[name] for name in ("images", "labels", "classes") if name in archive}
    except DataError:
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not a plain .npz file: {error}") from error


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
