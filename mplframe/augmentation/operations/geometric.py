"""Operations that move pixels and change none.

Where a pixel comes from is the same for all images of a size. It is found by letting torchvision's operation move the
coordinates themselves, once, so that the nearest neighbour is torchvision's in every last case of rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torchvision.transforms.v2.functional as tv

from mplframe.augmentation.batches import Pixels, tall
from mplframe.augmentation.operations.base import Surroundings

Move = Callable[..., torch.Tensor]
OUTSIDE = -1.0


def shear_x(images: Pixels, strength: float, around: Surroundings) -> Pixels:
    """Row y moves to the left by `strength * y` pixels."""
    return _moved(images, _sheared, (strength, 0.0), around.fill)


def shear_y(images: Pixels, strength: float, around: Surroundings) -> Pixels:
    """Column x moves up by `strength * x` pixels."""
    return _moved(images, _sheared, (0.0, strength), around.fill)


def rotate(images: Pixels, strength: float, around: Surroundings) -> Pixels:
    """Turn counter-clockwise around the center by `strength` degrees."""
    return _moved(images, _rotated, (strength,), around.fill)


def translate_x(images: Pixels, strength: float, around: Surroundings) -> Pixels:
    """Shift to the right by the whole pixels of `strength`."""
    return _shifted(images.swapaxes(1, 2), int(strength), around.fill).swapaxes(1, 2)


def translate_y(images: Pixels, strength: float, around: Surroundings) -> Pixels:
    """Shift downwards by the whole pixels of `strength`."""
    return _shifted(images, int(strength), around.fill)


def _shifted(images: Pixels, pixels: int, fill: int) -> Pixels:
    """Moved along the second dimension by whole pixels, at most out of the image."""
    size = images.shape[1]
    pixels = max(-size, min(size, pixels))
    shifted = np.full_like(images, fill)
    shifted[:, max(0, pixels) : size + min(0, pixels)] = images[:, max(0, -pixels) : size - max(0, pixels)]
    return shifted


def _sheared(positions: torch.Tensor, x: float, y: float) -> Any:
    degrees = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    return tv.affine(positions, 0.0, [0, 0], 1.0, degrees, center=[0.0, 0.0], fill=[OUTSIDE, OUTSIDE])


def _rotated(positions: torch.Tensor, degrees: float) -> Any:
    return tv.rotate(positions, angle=degrees, fill=[OUTSIDE, OUTSIDE])


def _moved(images: Pixels, move: Move, strength: tuple[float, ...], fill: int) -> Pixels:
    n, height, width, channels = images.shape
    places = _places(move, strength, height, width)
    if channels == 1:
        return _taken(images.reshape(n, height * width), places, fill).reshape(images.shape)
    # A pixel of four bytes is one number, which moves in half the time of three bytes.
    numbers = np.asarray(cv2.cvtColor(tall(images), cv2.COLOR_RGB2RGBA)).view(np.uint32)
    moved = _taken(numbers.reshape(n, height * width), places, fill * 0x01010101)
    colours = moved.view(np.uint8).reshape(n * height, width, 4)
    return np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGBA2RGB), np.uint8).reshape(images.shape)


def _taken(values: npt.NDArray[Any], places: npt.NDArray[np.int64], outside: int) -> npt.NDArray[Any]:
    """[N, P] -> for each image, the values at `places` ([P]), of which P itself is `outside`."""
    n, p = values.shape
    sources = np.empty((n, p + 1), values.dtype)
    sources[:, :p] = values
    sources[:, p] = outside
    return sources.take(places, axis=1)


@lru_cache(maxsize=64)
def _places(move: Move, strength: tuple[float, ...], height: int, width: int) -> npt.NDArray[np.int64]:
    """[H * W] number of the pixel that each pixel takes its value from, row by row; H * W where there is none."""
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    x, y = move(torch.stack([x, y]), *strength).long()
    return torch.where(x < 0, height * width, y * width + x).flatten().numpy()
