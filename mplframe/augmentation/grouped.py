"""Batches whose images have operations of their own: those with the same one are treated together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from mplframe.augmentation.batches import Pixels, batch, pixels
from mplframe.augmentation.operations import Apply, Operation, Surroundings

TOGETHER = 2**20
"""Bytes of images that are sorted by operation at a time, so that they stay in the processor's cache."""
ALONE = 2**17
"""Bytes from which an image is treated by itself: what sorting saves is then less than what it costs."""

Rows = npt.NDArray[np.int64]


class Step(NamedTuple):
    """An operation at one strength, in the unit of the operation."""

    apply: Apply
    strength: float


def both_signs(operation: Operation, magnitude: float, size: int) -> tuple[Step, Step]:
    """The operation at the strength of a magnitude (0 to 1) for images of `size` pixels, and at its negative."""
    strength = operation.strength(magnitude, size)
    return Step(operation.apply, strength), Step(operation.apply, -strength)


def each_its_own(images: torch.Tensor, codes: npt.NDArray[np.int64], steps: Sequence[Step], fill: int) -> torch.Tensor:
    """Apply to each image its own steps, one after the other.

    Args:
        images: [N, C, H, W] uint8, C = 1 or 3.
        codes: [N, R] for each round, the step of each image as a number in `steps`.
        steps: to choose from.
        fill: pixel value of what comes in from outside.

    Returns:
        [N, C, H, W] uint8, channels_last. Sample pairing blends rows 2i and 2i + 1 as they were given; an odd last row
        is its own partner.
    """
    given = pixels(images)
    changed = np.empty_like(given)

    def apply(code: int, current: Pixels, rows: Rows) -> Pixels:
        step = steps[code]
        return step.apply(current, step.strength, Surroundings(fill, given, rows))

    each = given[:1].nbytes
    at_once = 1 if each >= ALONE else TOGETHER // max(1, each)
    for start in range(0, len(given), at_once):
        part = slice(start, start + at_once)
        current = given[part]
        for chosen in codes[part].T:
            current = _grouped(apply, chosen.tolist(), current, start)
        changed[part] = current
    return batch(changed)


def _grouped(apply: Callable[[int, Pixels, Rows], Pixels], codes: list[int], images: Pixels, start: int) -> Pixels:
    """`apply` to the images of each code together; `start` is the row of the first."""
    groups: dict[int, list[int]] = {}
    for row, code in enumerate(codes):
        groups.setdefault(code, []).append(row)
    if len(groups) == 1:
        return apply(codes[0], images, np.arange(start, start + len(images)))
    changed = np.empty_like(images)
    for code, together in groups.items():
        rows = np.array(together)
        changed[rows] = apply(code, images[rows], start + rows)
    return changed
