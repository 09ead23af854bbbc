"""Pad, then crop back at a random place."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import PositiveInt
from torch.nn import functional as F

from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import Augmentation, Draws
from mplframe.errors import DataError


def crop(images: torch.Tensor, top: np.ndarray, left: np.ndarray, padding: int, mode: str) -> torch.Tensor:
    """Each image padded by `padding` pixels on all sides and cut back to its size at its own place.

    Args:
        images: [N, C, H, W] uint8, on the CPU.
        top: [N] first row kept, 0 to `2 * padding`; `padding` keeps the image as it is.
        left: [N] first column kept.
        padding: in pixels.
        mode: `reflect` or `zero`.

    Returns:
        [N, C, H, W] uint8.
    """
    height, width = images.shape[2:]
    padded = F.pad(images, [padding] * 4, mode="constant" if mode == "zero" else mode)
    # All possible crops as a view, [N, C, 2 padding + 1, 2 padding + 1, H, W]: numpy copies the chosen ones at once.
    places = sliding_window_view(padded.numpy(), (height, width), axis=(2, 3))
    return torch.from_numpy(places[np.arange(len(images)), :, top, left])


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
        mode: Literal["reflect", "zero"] = "reflect"

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
