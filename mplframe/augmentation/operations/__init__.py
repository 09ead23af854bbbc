"""The operations of RandAugment and AutoAugment, each on a batch of images that share one strength.

Every operation takes [N, H, W, C] uint8 images with C = 1 or 3 and a strength in its own unit, and treats each image
for itself; pixels are equal to those of torchvision's operation. `OPERATIONS` says how a magnitude of 0 to 1 becomes
that strength: the ranges of AutoAugment (Cubuk et al., 2019, table 6), as torchvision has them.

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

from collections.abc import Callable

import cv2

from mplframe.augmentation.operations.base import Apply, Operation, Surroundings
from mplframe.augmentation.operations.geometric import rotate, shear_x, shear_y, translate_x, translate_y
from mplframe.augmentation.operations.values import (
    auto_contrast,
    brightness,
    color,
    contrast,
    equalize,
    invert,
    posterize,
    sample_pairing,
    sharpness,
    solarize,
)

__all__ = ["DIGITS", "NATURAL", "OPERATIONS", "Apply", "Operation", "Surroundings"]

cv2.setNumThreads(0)  # batches are made in threads already


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
    "solarize": Operation(solarize, lambda magnitude, size: 255.0 - 255.0 * magnitude),
    "translate_x": Operation(translate_x, _of_side, signed=True),
    "translate_y": Operation(translate_y, _of_side, signed=True),
}

NATURAL = tuple(OPERATIONS)
"""CIFAR-10 and ImageNet: all of them. Source: MPL v4, table 5."""

DIGITS = tuple(name for name in OPERATIONS if name not in {"rotate", "sample_pairing", "translate_x"})
"""SVHN: without what turns one digit into another, and without sample pairing. Source: MPL v4, table 5."""
