"""Mirror images left to right."""

from __future__ import annotations

from typing import Annotated, Literal, final

import numpy as np
import torch
from pydantic import Field

from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import Augmentation, Draws


def flip(images: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """[N, C, H, W] -> the same, with the `chosen` ([N] bool) images mirrored left to right."""
    flipped = images.clone()
    flipped[chosen] = images[chosen].flip(-1)
    return flipped


@final
class Flip(Augmentation):
    """Mirrors a random part of the images left to right. Not for digits or letters."""

    class Config(ComponentConfig):
        """How often.

        Attributes:
            probability: that an image is mirrored.
        """

        name: Literal["flip"] = "flip"
        probability: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def draw(self, batch: int, size: int, rng: np.random.Generator) -> Draws:
        """`chosen`: [batch] bool."""
        return Draws({"chosen": rng.random(batch) < self.config.probability})

    def apply(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """See `flip`."""
        return flip(images, torch.from_numpy(draws.values["chosen"]))
