"""A reader over pixels that lie in one array, in memory or memory-mapped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, final

import numpy as np
import numpy.typing as npt

from mplframe.contracts.batch import UNKNOWN
from mplframe.data.readers.base import Images, Labels, Reader, Record, digest
from mplframe.errors import DataError

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
