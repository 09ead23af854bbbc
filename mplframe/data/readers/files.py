"""Image files and folders of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import final
from urllib.parse import urlsplit

import numpy as np

from mplframe.contracts.batch import UNKNOWN
from mplframe.data.decoding.image import decode
from mplframe.data.decoding.media import SAMPLE_EXTENSIONS
from mplframe.data.readers.base import Labels, Reader, Record, digest
from mplframe.errors import DataError, nearest
from mplframe.io.files import readable
from mplframe.io.stores import Stores, explained

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
        path = name.relative_to(self._root) if name.is_relative_to(self._root) else name
        source = readable(path.as_posix())
        key = readable(path.with_suffix("").as_posix())
        known = None if label == UNKNOWN else label
        data, suffix = read_bytes(place), name.suffix.lower()
        if suffix in CONVERTED:
            return Record(key, decode(data, source), "png", known, source=source)
        return Record(key, data, suffix[1:], known, source=source)


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


def labeled_folder(root: Path, classes: Sequence[str] | None = None) -> FileReader:
    """Images or videos under one subfolder a class (at any depth below it); classes are the subfolders' names, sorted.

    Args:
        root: the folder.
        classes: the class names in index order where another folder has already set them; some may be missing here.

    Raises:
        DataError: the folder is missing, has no subfolders, has images or videos beside them, has a class
            without any, or
            a subfolder that isn't among `classes`.
    """
    folders, files = entries(root)
    if not folders:
        raise DataError(
            f"{root}: no class folders; labeled images or videos go into one subfolder for each class, say "
            f"{root.name}/cat/1.jpg"
        )
    loose = [path for path in files if is_sample(path)]
    if loose:
        raise DataError(
            f"{root}: images or videos lie beside the class folders ({loose[0].name} and {len(loose) - 1} more); "
            "move each into the folder of its class"
        )
    names = tuple(readable(folder.name) for folder in folders) if classes is None else tuple(classes)
    images: list[Path] = []
    labels: list[int] = []
    for folder in folders:
        below = list(_walk(folder))
        found = [path for path in below if is_sample(path)]
        if not found:
            raise DataError(
                f"{folder}: a class without images or videos; add some ({_suffixes()}) or remove the folder"
            )
        images += found
        labels += [class_index(readable(folder.name), names, str(root))] * len(found)
        files += below
    return FileReader(root, images, np.asarray(labels, dtype=np.int64), names, _left_out(root, files))


def unlabeled_folder(root: Path) -> FileReader:
    """All images and videos below a folder, at any depth, sorted by path.

    Raises:
        DataError: the folder is missing or holds none.
    """
    entries(root)
    files = list(_walk(root))
    images = [path for path in files if is_sample(path)]
    if not images:
        raise DataError(f"{root}: no images or videos in it or below it; looked for {_suffixes()}")
    return FileReader(root, images, notes=_left_out(root, files))


def image_folder(root: Path) -> FileReader:
    """`labeled_folder` where there are subfolders, `unlabeled_folder` where files lie flat."""
    folders, _ = entries(root)
    return labeled_folder(root) if folders else unlabeled_folder(root)


def class_index(name: str, classes: Sequence[str], where: str) -> int:
    """The index of a class name.

    Raises:
        DataError: it isn't among `classes`.
    """
    try:
        return classes.index(name)
    except ValueError:
        shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
        raise DataError(f"{where}: unknown class {name!r}{nearest(name, classes)} (the classes are {shown})") from None


def entries(root: Path) -> tuple[list[Path], list[Path]]:
    """The folders (without hidden ones) and the files right below a folder, each sorted by name.

    Raises:
        DataError: it is missing, isn't a folder, or can't be listed.
    """
    if not root.is_dir():
        raise DataError(f"{root}: {'a file, where a folder is needed' if root.exists() else 'no such folder'}")
    try:
        found = sorted(root.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise DataError(f"{root}: can't be listed: {error.strerror or error}") from error
    folders = [path for path in found if path.is_dir() and not path.name.startswith(".")]
    return folders, [path for path in found if not path.is_dir()]


def _walk(root: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """All files below a folder, sorted; a link that leads back up is not followed."""
    real = root.resolve()
    if real in above:
        return
    folders, files = entries(root)
    yield from files
    for folder in folders:
        yield from _walk(folder, above | {real})


def _left_out(root: Path, files: Sequence[Path]) -> list[str]:
    others = [path for path in files if not is_sample(path)]
    if not others:
        return []
    return [
        f"{root}: {len(others)} file(s) without an image or video suffix left out, the first is "
        f"{readable(str(others[0].relative_to(root)))}"
    ]


def _suffixes() -> str:
    return ", ".join(sorted(SUFFIXES))
