"""Operations on grey values: pointwise tables and blends.

The table is the same for all images, or made from the mean, the range or the histogram of each. It holds torchvision's
results for the values 0 to 255, so that nothing is rounded differently.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torchvision.transforms.v2.functional as tv

from mplframe.augmentation.batches import Pixels, joined, planes, tall
from mplframe.augmentation.operations.base import Surroundings


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


Floats = npt.NDArray[np.float32]

VALUES = torch.arange(256, dtype=torch.uint8)


def brightness(images: Pixels, strength: float, around: Surroundings) -> Pixels:
    """Blend with black; the factor is `1 + strength`."""
    return _looked_up(images.reshape(1, -1, images.shape[2]), _brightness(1.0 + strength)).reshape(images.shape)


@lru_cache(maxsize=64)
def _brightness(factor: float) -> Pixels:
    tables: Pixels = tv.adjust_brightness(VALUES[None, None], factor)[0].numpy()
    return tables


def contrast(images: Pixels, strength: float, around: Surroundings) -> Pixels:
    """Blend with the mean luma."""
    n, height, width, channels = images.shape
    # torchvision sums in float32, whose result depends on the thread count for images over 256 x 256 pixels.
    sums = np.array([cv2.sumElems(grey)[0] for grey in luma(planes(images))])
    mean = torch.from_numpy((sums / (height * width)).astype(np.float32))
    factor = 1.0 + strength
    tables = cut_off(VALUES.mul(factor).add(mean[:, None], alpha=1.0 - factor))
    return _looked_up(images.reshape(n, height, width * channels), tables).reshape(images.shape)


def posterize(images: Pixels, strength: float, around: Surroundings) -> Pixels:
    """Keep the `strength` highest bits."""
    return images & np.uint8(0xFF00 >> round(strength) & 0xFF)


def solarize(images: Pixels, strength: float, around: Surroundings) -> Pixels:
    """Invert pixels of at least `strength`."""
    # 255 - pixel turns every bit over.
    return images ^ (images >= math.ceil(strength)) * np.uint8(255)


def invert(images: Pixels, strength: float, around: Surroundings) -> Pixels:
    """255 minus each pixel."""
    return ~images


def auto_contrast(images: Pixels, strength: float, around: Surroundings) -> Pixels:
    """Stretch each channel to the whole range."""
    split = planes(images)
    flat = split.reshape(-1, *split.shape[2:])  # [C * N, H, W]
    ends = np.array([cv2.minMaxLoc(plane)[:2] for plane in flat], np.float32)  # [C * N, 2]
    return joined(_looked_up(flat, _stretching(ends[:, :1], ends[:, 1:])).reshape(split.shape))


def _stretching(low: Floats, high: Floats) -> Pixels:
    """[M, 1] the lowest and the highest value -> [M, 256] tables; the identity where they are the same."""
    unit = np.where(high > low, (high - low) * np.float32(1 / 255), np.float32(1))
    tables = (VALUES.numpy() - np.where(high > low, low, np.float32(0))) / unit
    return tables.clip(0, 255).astype(np.uint8)


def equalize(images: Pixels, strength: float, around: Surroundings) -> Pixels:
    """Flatten each channel's histogram."""
    split = planes(images)
    flat = split.reshape(-1, *split.shape[2:])  # [C * N, H, W]
    histograms = [cv2.calcHist([plane], [0], None, [256], [0, 256]).ravel() for plane in flat]
    return joined(_looked_up(flat, _equalizing(np.stack(histograms).astype(np.int32))).reshape(split.shape))


def _equalizing(histograms: npt.NDArray[np.int32]) -> Pixels:
    """[M, 256] counts of each value -> [M, 256] tables, by Pillow's definition.

    A value becomes the number of pixels darker than it in units of `step`, which is a 255th of those darker than the
    brightest. Where there are fewer than 255 of those, nothing changes.
    """
    darker = histograms.cumsum(1, dtype=np.int32) - histograms
    step = np.where(histograms > 0, darker, 0).max(1, keepdims=True) // 255
    tables = np.minimum((darker + step // 2) // np.maximum(step, 1), 255)
    return np.where(step > 0, tables, VALUES.numpy()).astype(np.uint8)


def _looked_up(values: Pixels, tables: Pixels) -> Pixels:
    """[M, H, W], each in its table of [M, 256]."""
    changed = np.empty_like(values)
    for result, plane, table in zip(changed, values, tables, strict=True):
        result[...] = cv2.LUT(plane, table)
    return changed
