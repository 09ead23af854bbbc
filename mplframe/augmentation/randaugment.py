"""RandAugment: a few random operations of one common magnitude."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, final

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, PositiveInt, field_validator

from mplframe.augmentation.operations import DIGITS, NATURAL, OPERATIONS, Operation, Surroundings
from mplframe.augmentation.pixels import Pixels, batch, pixels
from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import Augmentation, Draws
from mplframe.errors import nearest

LEVELS = 30
TOGETHER = 2**20
"""Bytes of images that are sorted by operation at a time, so that they stay in the processor's cache."""
ALONE = 2**17
"""Bytes from which an image is treated by itself: what sorting saves is then less than what it costs."""

Rows = npt.NDArray[np.int64]
SETS = {"cifar": NATURAL, "imagenet": NATURAL, "svhn": DIGITS}


def randaugment(
    images: torch.Tensor,
    choices: npt.NDArray[np.int64],
    negative: npt.NDArray[np.bool_],
    operations: Sequence[Operation],
    magnitude: float,
    fill: int,
) -> torch.Tensor:
    """Apply to each image its own operations, one after the other; images with the same one are treated together.

    Args:
        images: [N, C, H, W] uint8, C = 1 or 3.
        choices: [N, R] for each round, the operation of each image as a number in `operations`.
        negative: [N, R] whether a signed strength is taken negative.
        operations: to choose from.
        magnitude: 0 to 1, of all operations.
        fill: pixel value of what comes in from outside.

    Returns:
        [N, C, H, W] uint8, channels_last. Sample pairing blends rows 2i and 2i + 1 as they were given; an odd last row
        is its own partner.

    Source: Cubuk et al., RandAugment, 2020; operations: MPL v4, C.2 and table 5.
    """
    given = pixels(images)
    changed = np.empty_like(given)
    signed = np.array([operation.signed for operation in operations])
    codes = 2 * choices + (negative & signed[choices])  # [N, R]
    strengths = [operation.strength(magnitude, images.shape[-1]) for operation in operations]

    def apply(code: int, current: Pixels, rows: Rows) -> Pixels:
        strength = strengths[code // 2]
        around = Surroundings(fill, given, rows)
        return operations[code // 2].apply(current, -strength if code % 2 else strength, around)

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


@final
class RandAugment(Augmentation):
    """Draws operations uniformly, with replacement, for each image."""

    class Config(ComponentConfig):
        """How much of what.

        Attributes:
            num_ops: operations for each image.
            magnitude: of all of them, 0 (mostly none) to 30 (strongest); `operations` says what it means for each.
            operations: `cifar`, `imagenet` or `svhn` (MPL v4, table 5), or a list of names.
            fill: pixel value of what comes in from outside.
        """

        name: Literal["randaugment"] = "randaugment"
        num_ops: PositiveInt = 2
        magnitude: Annotated[float, Field(ge=0, le=LEVELS)] = 10
        operations: Literal["cifar", "imagenet", "svhn"] | tuple[str, ...] = "cifar"
        fill: Annotated[int, Field(ge=0, le=255)] = 127

        @field_validator("operations")
        @classmethod
        def _known(cls, operations: str | tuple[str, ...]) -> str | tuple[str, ...]:
            for name in () if isinstance(operations, str) else operations:
                if name not in OPERATIONS:
                    raise ValueError(
                        f"unknown operation {name!r}{nearest(name, OPERATIONS)}; allowed are {', '.join(OPERATIONS)}"
                    )
            if not operations:
                raise ValueError("an empty list of operations; name at least one, or leave the augmentation out")
            return operations

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        chosen = self.config.operations
        self._operations = [OPERATIONS[name] for name in (SETS[chosen] if isinstance(chosen, str) else chosen)]

    def draw(self, batch: int, size: int, rng: np.random.Generator) -> Draws:
        """`choices` [batch, num_ops] and `negative` [batch, num_ops] bool."""
        shape = (batch, self.config.num_ops)
        return Draws({"choices": rng.integers(0, len(self._operations), shape), "negative": rng.random(shape) < 0.5})

    def apply(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """See `randaugment`."""
        choices, negative = draws.values["choices"], draws.values["negative"]
        magnitude = self.config.magnitude / LEVELS
        return randaugment(images, choices, negative, self._operations, magnitude, self.config.fill)
