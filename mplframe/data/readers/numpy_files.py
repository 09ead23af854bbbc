"""Images and labels in numpy files."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mplframe.data.readers.arrays import ArrayReader
from mplframe.errors import DataError, nearest


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
