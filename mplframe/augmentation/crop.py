"""Pad, then crop back at a random place."""

from __future__ import annotations

from typing import Literal, final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pydantic import PositiveInt

from mplframe.augmentation.pixels import batch, pixels
from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import Augmentation, Draws
from mplframe.errors import DataError

Mode = Literal["reflect", "zero"]
Places = npt.NDArray[np.int64]
BORDERS = {"reflect": cv2.BORDER_REFLECT_101, "zero": cv2.BORDER_CONSTANT}


def crop(images: torch.Tensor, top: Places, left: Places, padding: int, mode: Mode) -> torch.Tensor:
    """Each image padded by `padding` pixels on all sides and cut back to its size at its own place.

    Args:
        images: [N, C, H, W] uint8, on the CPU.
        top: [N] first row kept, 0 to `2 * padding`; `padding` keeps the image as it is.
        left: [N] first column kept.
        padding: in pixels.
        mode: of the padding.

    Returns:
        [N, C, H, W] uint8, channels_last.
    """
    height, width = images.shape[2:]
    given = pixels(images)
    cropped = np.empty_like(given)
    for result, image, y, x in zip(cropped, given, top.tolist(), left.tolist(), strict=True):
        padded = np.asarray(cv2.copyMakeBorder(image, padding, padding, padding, padding, BORDERS[mode]))
        result[...] = padded[y : y + height, x : x + width].reshape(image.shape)
    return batch(cropped)


@final
class Crop(Augmentation):
    """Shifts images by up to `padding` pixels: the usual translation of small images."""

    class Config(ComponentConfig):
        """The published setting of CIFAR-10 and SVHN.

        Attributes:
            padding: pixels added on each side.
            mode: what is added: the mirrored border, or zeros.
        """

        name: Literal["crop"] = "crop"
        padding: PositiveInt = 4
        mode: Mode = "reflect"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def draw(self, batch: int, size: int, rng: np.random.Generator) -> Draws:
        """`top` and `left`, each [batch] in 0 to `2 * padding`.

        Raises:
            DataError: the padding is wider than what can be mirrored.
        """
        padding = self.config.padding
        if self.config.mode == "reflect" and padding >= size:
            raise DataError(
                f"augmentation crop: padding {padding} can't be mirrored in images of {size} pixels; "
                f"choose at most {size - 1}, or mode: zero"
            )
        places = rng.integers(0, 2 * padding + 1, (batch, 2))
        return Draws({"top": places[:, 0], "left": places[:, 1]})

    def apply(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """See `crop`."""
        return crop(images, draws.values["top"], draws.values["left"], self.config.padding, self.config.mode)
