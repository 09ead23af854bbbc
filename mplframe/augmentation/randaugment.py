"""RandAugment: a few random operations of one common magnitude."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, final

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, PositiveInt, field_validator

from mplframe.augmentation.grouped import both_signs, each_its_own
from mplframe.augmentation.operations import DIGITS, NATURAL, OPERATIONS, Operation
from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import Augmentation, Draws
from mplframe.errors import nearest

LEVELS = 30

SETS = {"cifar": NATURAL, "imagenet": NATURAL, "svhn": DIGITS}


def randaugment(
    images: torch.Tensor,
    choices: npt.NDArray[np.int64],
    negative: npt.NDArray[np.bool_],
    operations: Sequence[Operation],
    magnitude: float,
    fill: int,
) -> torch.Tensor:
    """Apply to each image its own operations, one after the other.

    Args:
        images: [N, C, H, W] uint8, C = 1 or 3.
        choices: [N, R] for each round, the operation of each image as a number in `operations`.
        negative: [N, R] whether a signed strength is taken negative.
        operations: to choose from.
        magnitude: 0 to 1, of all operations.
        fill: pixel value of what comes in from outside.

    Returns:
        [N, C, H, W] uint8, channels_last; see `each_its_own`.

    Source: Cubuk et al., RandAugment, 2020; operations: MPL v4, C.2 and table 5.
    """
    signed = np.array([operation.signed for operation in operations])
    codes = 2 * choices + (negative & signed[choices])  # [N, R]
    steps = [step for operation in operations for step in both_signs(operation, magnitude, images.shape[-1])]
    return each_its_own(images, codes, steps, fill)


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
