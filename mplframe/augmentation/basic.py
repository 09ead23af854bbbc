"""Crop, flip, cutout and noise: augmentations of a batch, each one index map or one table."""

from __future__ import annotations

from typing import Annotated, Literal, final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, PositiveInt

from mplframe.augmentation.batches import batch, pixels
from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import Augmentation, Draws
from mplframe.errors import DataError, UserError

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
