"""Grey out a random square."""

from __future__ import annotations

from typing import Annotated, Literal, final

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, PositiveInt

from mplframe.augmentation.pixels import batch, pixels
from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import Augmentation, Draws

Places = npt.NDArray[np.int64]


def cutout(images: torch.Tensor, row: Places, column: Places, side: int, value: int) -> torch.Tensor:
    """A square set to `value` in each image.

    Args:
        images: [N, C, H, W] uint8.
        row: [N] the square's center; it covers `center - side // 2` to `center - side // 2 + side - 1` where that lies
            within the image.
        column: [N] likewise.
        side: of the square, in pixels.
        value: pixel value, 0 to 255.

    Returns:
        [N, C, H, W] uint8, channels_last.

    Source: DeVries and Taylor, Improved regularization of convolutional neural networks with cutout, section 3.2.
    """
    cut = pixels(images).copy()
    for image, y, x in zip(cut, row.tolist(), column.tolist(), strict=True):
        image[_covered(y, side), _covered(x, side)] = value
    return batch(cut)


def _covered(center: int, side: int) -> slice:
    first = center - side // 2
    return slice(max(0, first), max(0, first + side))


@final
class Cutout(Augmentation):
    """Greys out a square around a random pixel of each image; at the border a part of it falls outside."""

    class Config(ComponentConfig):
        """The square.

        Attributes:
            size: of its side, in pixels.
            value: what its pixels become.
        """

        name: Literal["cutout"] = "cutout"
        size: PositiveInt = 16
        value: Annotated[int, Field(ge=0, le=255)] = 127

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def draw(self, batch: int, size: int, rng: np.random.Generator) -> Draws:
        """`row` and `column` of the center, each [batch] in 0 to `size - 1`."""
        centers = rng.integers(0, size, (batch, 2))
        return Draws({"row": centers[:, 0], "column": centers[:, 1]})

    def apply(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """See `cutout`."""
        return cutout(images, draws.values["row"], draws.values["column"], self.config.size, self.config.value)
