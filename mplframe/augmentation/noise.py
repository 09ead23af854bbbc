"""Gaussian noise on pixels."""

from __future__ import annotations

from typing import Annotated, Literal, final

import numpy as np
import torch
from pydantic import Field

from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import Augmentation, Draws
from mplframe.errors import UserError

Deviation = Annotated[float, Field(ge=0.0, le=1.0)]


def noise(images: torch.Tensor, normal: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Each value plus its noise, rounded and cut off at 0 and 255.

    Args:
        images: [N, C, H, W] uint8.
        normal: [N, C, H, W] float, standard normal.
        std: [C] standard deviation in units of the [0, 1] pixel range; where it is 0 the channel stays as it is.

    Returns:
        [N, C, H, W] uint8.
    """
    changed = images + normal * (255 * std[:, None, None])
    return changed.round_().clamp_(0, 255).to(torch.uint8)


@final
class Noise(Augmentation):
    """Adds independent Gaussian noise to every value."""

    class Config(ComponentConfig):
        """How much.

        Attributes:
            std: standard deviation in units of the [0, 1] pixel range: one for all channels, or one for each.
        """

        name: Literal["noise"] = "noise"
        std: Deviation | Annotated[tuple[Deviation, ...], Field(min_length=1)] = 0.05

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def draw(self, batch: int, size: int, rng: np.random.Generator) -> Draws:
        """`normal`: [batch, 3, size, size] float32; grey images use the first channel."""
        return Draws({"normal": rng.standard_normal((batch, 3, size, size), dtype=np.float32)})

    def apply(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """See `noise`.

        Raises:
            UserError: there is a deviation for each channel, but of another number of channels.
        """
        channels = images.shape[1]
        given = self.config.std
        if isinstance(given, tuple) and len(given) != channels:
            raise UserError(
                f"augmentation noise: std has {len(given)} values, but images have {channels} channel(s); "
                "give one value for all, or one a channel"
            )
        std = torch.tensor(given, dtype=torch.float32).expand(channels)
        return noise(images, torch.from_numpy(draws.values["normal"])[:, :channels], std)
