"""Operations that blend two images, in torchvision's order of float32 sums and products."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from mplframe.augmentation.operations.base import Surroundings
from mplframe.augmentation.pixels import Pixels, joined, planes, tall


def luma(planes: Pixels) -> Pixels:
    """[C, N, H, W], C = 1 or 3 -> [N, H, W], cut off to whole numbers; weights of ITU-R 601."""
    if len(planes) == 1:
        grey: Pixels = planes[0]
        return grey
    red, green, blue = torch.from_numpy(planes).float()
    return cut_off(red.mul_(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114))


def color(images: Pixels, strength: float, around: Surroundings) -> Pixels:
    """Blend with the grey image, which gets the weight `-strength`; leaves grey images as they are."""
    if images.shape[3] == 1:
        return images
    split = planes(images)
    grey = torch.from_numpy(luma(split)).float()
    factor = 1.0 + strength
    return joined(cut_off(torch.from_numpy(split).float().mul_(factor).add_(grey, alpha=1.0 - factor)))


def sharpness(images: Pixels, strength: float, around: Surroundings) -> Pixels:
    """Blend with the smoothed image, which gets the weight `-strength`; the border of one pixel stays as it is."""
    # The smoothed value is (the sum of 3 x 3 + 4 times the middle) / 13: never near a half, so any way of summing will
    # do. Where one image meets the next, only the borders are wrong.
    sums = cv2.boxFilter(tall(images), cv2.CV_32F, (3, 3), normalize=False)
    sharp = torch.from_numpy(images).float()
    smooth = torch.from_numpy(sums).view(images.shape).add_(sharp, alpha=4.0).div_(13.0).round_()
    changed = cut_off(sharp.add_(smooth.sub_(sharp), alpha=1.0 - (1.0 + strength)))
    for border in (0, -1):
        changed[:, border] = images[:, border]
        changed[:, :, border] = images[:, :, border]
    return changed


def sample_pairing(images: Pixels, strength: float, around: Surroundings) -> Pixels:
    """Blend with the partner, which gets the weight `strength`."""
    partners = torch.from_numpy(around.partners).float()
    return cut_off(torch.from_numpy(images).float().mul_(1.0 - strength).add_(partners, alpha=strength).add_(0.5))


def cut_off(values: torch.Tensor) -> Pixels:
    """Floats, changed in place -> the same shape in whole numbers from 0 to 255, rounded down."""
    # numpy's conversion takes a seventh of torch's time.
    return values.clamp_(0, 255).numpy().astype(np.uint8)
