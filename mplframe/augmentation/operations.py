"""The operations of RandAugment, each on a batch of images that share one strength.

Every operation takes [N, C, H, W] uint8 images with C = 1 or 3 and a strength in its own unit, and treats each image
for itself. `OPERATIONS` says how a magnitude of 0 to 1 becomes that strength: the ranges of AutoAugment (Cubuk et al.,
2019, table 6), as torchvision has them.

| operation                             | magnitude 0 -> 1              | sign   |
|---------------------------------------|-------------------------------|--------|
| shear_x, shear_y                      | 0 -> 0.3 pixels a pixel       | random |
| translate_x, translate_y              | 0 -> 150 / 331 of the side    | random |
| rotate                                | 0 -> 30 degrees               | random |
| brightness, color, contrast, sharpness| factor 1 -> 1 +- 0.9          | random |
| posterize                             | 8 -> 4 bits kept              |        |
| solarize                              | threshold 255 -> 0            |        |
| sample_pairing                        | 0 -> 0.4 of the other image   |        |
| auto_contrast, equalize, invert       | no strength                   |        |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torchvision.transforms.v2.functional as tv


@dataclass(frozen=True)
class Surroundings:
    """What an operation may need beside its images: the pixel value of what comes in from outside, and the partner of
    each image, [N, C, H, W]."""

    fill: int
    partners: torch.Tensor


Apply = Callable[[torch.Tensor, float, Surroundings], torch.Tensor]


@dataclass(frozen=True)
class Operation:
    """An operation with its range.

    Attributes:
        apply: images, strength and surroundings -> images.
        strength: magnitude (0 to 1) and image size (pixels) -> strength, in the unit of the operation.
        signed: the strength's sign is drawn at random.
    """

    apply: Apply
    strength: Callable[[float, int], float]
    signed: bool = False


def shear_x(images: torch.Tensor, strength: float, around: Surroundings) -> torch.Tensor:
    """Row y moves to the left by `strength * y` pixels."""
    return _shear(images, strength, 0.0, around.fill)


def shear_y(images: torch.Tensor, strength: float, around: Surroundings) -> torch.Tensor:
    """Column x moves up by `strength * x` pixels."""
    return _shear(images, 0.0, strength, around.fill)


def translate_x(images: torch.Tensor, strength: float, around: Surroundings) -> torch.Tensor:
    """Shift to the right by the whole pixels of `strength`."""
    return _shift(images, int(strength), -1, around.fill)


def translate_y(images: torch.Tensor, strength: float, around: Surroundings) -> torch.Tensor:
    """Shift downwards by the whole pixels of `strength`."""
    return _shift(images, int(strength), -2, around.fill)


def rotate(images: torch.Tensor, strength: float, around: Surroundings) -> torch.Tensor:
    """Turn counter-clockwise around the center by `strength` degrees."""
    return _tensor(tv.rotate(images, angle=strength, fill=[float(around.fill)] * images.shape[1]))


def brightness(images: torch.Tensor, strength: float, around: Surroundings) -> torch.Tensor:
    """Blend with black; the factor is `1 + strength`."""
    return _tensor(tv.adjust_brightness(images, 1.0 + strength))


def color(images: torch.Tensor, strength: float, around: Surroundings) -> torch.Tensor:
    """Blend with the grey image; leaves grey images as they are."""
    return _tensor(tv.adjust_saturation(images, 1.0 + strength))


def contrast(images: torch.Tensor, strength: float, around: Surroundings) -> torch.Tensor:
    """Blend with the mean luma."""
    # torchvision sums in float32, whose result depends on the thread count for images over 256 x 256 pixels.
    grey = tv.rgb_to_grayscale(images)
    mean = grey.sum(dim=(1, 2, 3), keepdim=True, dtype=torch.int64).double().div(grey[0].numel()).float()
    factor = 1.0 + strength
    return images.mul(factor).add_(mean, alpha=1.0 - factor).clamp_(0, 255).to(torch.uint8)


def sharpness(images: torch.Tensor, strength: float, around: Surroundings) -> torch.Tensor:
    """Blend with the smoothed image."""
    return _tensor(tv.adjust_sharpness(images, 1.0 + strength))


def posterize(images: torch.Tensor, strength: float, around: Surroundings) -> torch.Tensor:
    """Keep the `strength` highest bits."""
    return _tensor(tv.posterize(images, round(strength)))


def solarize(images: torch.Tensor, strength: float, around: Surroundings) -> torch.Tensor:
    """Invert pixels of at least `strength`."""
    # 255 - pixel turns every bit over; torch.where takes several times as long.
    return images ^ (images >= math.ceil(strength)).to(torch.uint8).mul_(255)


def auto_contrast(images: torch.Tensor, strength: float, around: Surroundings) -> torch.Tensor:
    """Stretch each channel to the whole range."""
    return _tensor(tv.autocontrast(images))


def equalize(images: torch.Tensor, strength: float, around: Surroundings) -> torch.Tensor:
    """Flatten each channel's histogram."""
    return _tensor(tv.equalize(images))


def invert(images: torch.Tensor, strength: float, around: Surroundings) -> torch.Tensor:
    """255 minus each pixel."""
    return 255 - images


def sample_pairing(images: torch.Tensor, strength: float, around: Surroundings) -> torch.Tensor:
    """Blend with the partner, which gets the weight `strength`."""
    blend = images.mul(1.0 - strength).add_(around.partners, alpha=strength)
    return blend.add_(0.5).clamp_(0, 255).to(torch.uint8)


def _shear(images: torch.Tensor, x: float, y: float, fill: int) -> torch.Tensor:
    degrees = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    colour = [float(fill)] * images.shape[1]
    return _tensor(tv.affine(images, 0.0, [0, 0], 1.0, degrees, center=[0.0, 0.0], fill=colour))


def _shift(images: torch.Tensor, pixels: int, dimension: int, fill: int) -> torch.Tensor:
    """Moved by whole pixels towards higher (positive) or lower indices; at most out of the image."""
    size = images.shape[dimension]
    pixels = max(-size, min(size, pixels))
    shifted = torch.full_like(images, fill)
    kept = size - abs(pixels)
    source = images.narrow(dimension, max(0, -pixels), kept)
    shifted.narrow(dimension, max(0, pixels), kept).copy_(source)
    return shifted


def _tensor(result: torch.Tensor) -> torch.Tensor:
    # Where torchvision carries no types, this gives its results one.
    return result


def _up_to(most: float) -> Callable[[float, int], float]:
    return lambda magnitude, size: most * magnitude


def _of_side(magnitude: float, size: int) -> float:
    return 150.0 / 331.0 * size * magnitude


OPERATIONS = {
    "auto_contrast": Operation(auto_contrast, _up_to(0.0)),
    "brightness": Operation(brightness, _up_to(0.9), signed=True),
    "color": Operation(color, _up_to(0.9), signed=True),
    "contrast": Operation(contrast, _up_to(0.9), signed=True),
    "equalize": Operation(equalize, _up_to(0.0)),
    "invert": Operation(invert, _up_to(0.0)),
    "posterize": Operation(posterize, lambda magnitude, size: 8.0 - 4.0 * magnitude),
    "rotate": Operation(rotate, _up_to(30.0), signed=True),
    "sample_pairing": Operation(sample_pairing, _up_to(0.4)),
    "sharpness": Operation(sharpness, _up_to(0.9), signed=True),
    "shear_x": Operation(shear_x, _up_to(0.3), signed=True),
    "shear_y": Operation(shear_y, _up_to(0.3), signed=True),
    "solarize": Operation(solarize, lambda magnitude, size: 255.0 * (1.0 - magnitude)),
    "translate_x": Operation(translate_x, _of_side, signed=True),
    "translate_y": Operation(translate_y, _of_side, signed=True),
}

NATURAL = tuple(OPERATIONS)
"""CIFAR-10 and ImageNet: all of them. Source: MPL v4, table 5."""

DIGITS = tuple(name for name in OPERATIONS if name not in {"rotate", "sample_pairing", "translate_x"})
"""SVHN: without what turns one digit into another, and without sample pairing. Source: MPL v4, table 5."""
