"""Image and video files in folders: one subfolder a class, or unlabeled at any depth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mplframe.data.readers.files import SUFFIXES, FileReader, is_sample
from mplframe.errors import DataError, nearest


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
    names = tuple(folder.name for folder in folders) if classes is None else tuple(classes)
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
        labels += [class_index(folder.name, names, str(root))] * len(found)
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
        f"{others[0].relative_to(root)}"
    ]


def _suffixes() -> str:
    return ", ".join(sorted(SUFFIXES))
