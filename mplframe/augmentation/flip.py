"""Mirror images left to right."""

from __future__ import annotations

from typing import Annotated, Literal, final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from mplframe.augmentation.pixels import batch, pixels
from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import Augmentation, Draws


def flip(images: torch.Tensor, chosen: npt.NDArray[np.bool_]) -> torch.Tensor:
    """[N, C, H, W] uint8 -> the same, channels_last, with the `chosen` ([N]) images mirrored left to right."""
    given = pixels(images)
    flipped = np.empty_like(given)
    for result, image, mirrored in zip(flipped, given, chosen.tolist(), strict=True):
        result[...] = cv2.flip(image, 1).reshape(image.shape) if mirrored else image
    return batch(flipped)


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
        return flip(images, draws.values["chosen"])
