"""Image and video files, by path or by URL."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import final
from urllib.parse import urlsplit

import numpy as np

from mplframe.contracts.batch import UNKNOWN
from mplframe.data.decode import decode
from mplframe.data.media import SAMPLE_EXTENSIONS
from mplframe.data.readers.base import Labels, Reader, Record, digest
from mplframe.errors import DataError
from mplframe.stores.stores import Stores, explained

CONVERTED = frozenset({".gif", ".tif", ".tiff"})
"""Suffixes of images that training doesn't read as they are: they are decoded and become PNG, without loss."""

SUFFIXES = CONVERTED | {f".{extension}" for extension in SAMPLE_EXTENSIONS if extension != "npy"}
"""Of files that are taken for images or videos, in lower case."""

Place = Path | str
"""A path, or a URL as text."""

STORES = Stores()
"""Of URLs; credentials come as each store's own tools have them."""


@final
class FileReader(Reader):
    """Image or video files in a given order; their bytes are kept as they are, but for those in `CONVERTED`.

    Args:
        root: the folder that keys are relative to; a URL's key is its path.
        files: the images or videos.
        labels: [N] class indices, or None where nothing is labeled.
        classes: class names in index order.
        notes: what was left out.
    """

    def __init__(
        self,
        root: Place,
        files: Sequence[Place],
        labels: Labels | None = None,
        classes: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self._root = root
        self._files = files
        self._labels = np.full(len(files), UNKNOWN, dtype=np.int64) if labels is None else labels
        self._classes = tuple(classes)
        self._notes = tuple(notes)

    @property
    def classes(self) -> Sequence[str]:
        return self._classes

    @property
    def labels(self) -> Labels:
        return self._labels

    @property
    def notes(self) -> Sequence[str]:
        return self._notes

    def noting(self, note: str) -> FileReader:
        """The same reader with a further note."""
        return FileReader(self._root, self._files, self._labels, self._classes, (*self._notes, note))

    @cached_property
    def digest(self) -> str:
        return digest(repr(self._classes), self._labels, *map(version, self._files))

    def read(self, index: int) -> Record:
        place, label = self._files[index], int(self._labels[index])
        name = path_of(place)
        key = name.relative_to(self._root) if name.is_relative_to(self._root) else name
        known = None if label == UNKNOWN else label
        data, suffix = read_bytes(place), name.suffix.lower()
        if suffix in CONVERTED:
            return Record(key.with_suffix("").as_posix(), decode(data, str(place)), "png", known)
        return Record(key.with_suffix("").as_posix(), data, suffix[1:], known)


def is_url(place: Place) -> bool:
    """Whether a place is a URL."""
    return isinstance(place, str) and "://" in place


def path_of(place: Place) -> PurePosixPath:
    """The path of a place; of a URL what lies behind the host or bucket, without a query."""
    return PurePosixPath(urlsplit(place).path.lstrip("/") if isinstance(place, str) else place)


def is_sample(place: Place) -> bool:
    """Whether a file is taken for an image or a video, by its suffix; hidden files never are."""
    path = path_of(place)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def read_bytes(place: Place) -> bytes:
    """A whole file.

    Raises:
        DataError: it can't be read.
    """
    if isinstance(place, str):
        with explained(place):
            return STORES.read(place)
    try:
        return place.read_bytes()
    except OSError as error:
        raise DataError(f"{place}: can't be read: {error.strerror or error}") from error


def version(place: Place) -> str:
    """What differs where a file was changed: its name, size and time of change; of a URL the name alone."""
    if isinstance(place, str):
        return place
    try:
        found = place.stat()
    except OSError:
        return str(place)  # reading it says what is wrong
    return f"{place} {found.st_size} {found.st_mtime_ns}"
