"""Images of any size -> one batch of `size` x `size` pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torchvision.transforms.v2.functional as tv

from mplframe.contracts.data import Sample
from mplframe.errors import DataError

FitName = Literal["exact", "resize", "random_resized_crop"]
Box = tuple[int, int, int, int]

CROP_ATTEMPTS = 10
CROP_SCALE = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)


def draw_crops(batch: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """[batch, attempts, 4] uniforms in [0, 1): what `crop_box` needs for each image."""
    return rng.random((batch, CROP_ATTEMPTS, 4))


def crop_box(height: int, width: int, uniforms: npt.NDArray[np.float64]) -> Box:
    """The Inception crop: a random box of 8 to 100 % of the area and an aspect ratio of 3/4 to 4/3 (log uniform).

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        uniforms: [attempts, 4], for the area, the ratio, the top and the left side of each attempt. The first box that
            lies within the image is taken; where none does, the largest central box of an allowed ratio.

    Returns:
        top, left, height and width in pixels.

    Source: Szegedy et al., Going deeper with convolutions, section 6.
    """
    for area, ratio, top, left in uniforms.tolist():
        target = height * width * (CROP_SCALE[0] + area * (CROP_SCALE[1] - CROP_SCALE[0]))
        aspect = CROP_RATIO[0] * (CROP_RATIO[1] / CROP_RATIO[0]) ** ratio
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(top * (height - h + 1)), int(left * (width - w + 1)), h, w
    w = max(1, min(width, round(height * CROP_RATIO[1])))
    h = max(1, min(height, round(width / CROP_RATIO[0])))
    return (height - h) // 2, (width - w) // 2, h, w


def fit(
    samples: Sequence[Sample], size: int, channels: int, how: FitName, crops: npt.NDArray[np.float64] | None = None
) -> torch.Tensor:
    """Training input of a batch.

    Args:
        samples: N decoded images.
        size: height and width of the result, in pixels.
        channels: 1 or 3; colour becomes grey by its luma (ITU-R 601), grey becomes colour by repetition.
        how: `exact`, `resize` or `random_resized_crop`; see `InputConfig.fit`. Scaling is bilinear with antialiasing.
        crops: for `random_resized_crop`: [N, attempts, 4], from `draw_crops`.

    Returns:
        [N, channels, size, size] uint8.

    Raises:
        DataError: `exact` is asked for and an image has another size.
    """
    if how == "exact":
        return _exact(samples, size, channels)
    if how == "resize":
        return _stack([_center(sample.image, size, size) for sample in samples], channels)
    assert crops is not None, "random_resized_crop needs drawn crops"
    return _stack([_crop(sample.image, draws, size) for sample, draws in zip(samples, crops, strict=True)], channels)


def fit_evaluation(samples: Sequence[Sample], size: int, channels: int, how: FitName, eval_crop: float) -> torch.Tensor:
    """Evaluation input of a batch: `exact` where training is, else the shorter side goes to `size / eval_crop` pixels
    and the center `size` x `size` is kept. Shapes and errors as of `fit`.
    """
    if how == "exact":
        return _exact(samples, size, channels)
    shorter = max(size, round(size / eval_crop))
    return _stack([_center(sample.image, shorter, size) for sample in samples], channels)


def _exact(samples: Sequence[Sample], size: int, channels: int) -> torch.Tensor:
    for sample in samples:
        height, width = sample.image.shape[:2]
        if (height, width) != (size, size):
            raise DataError(
                f"sample {sample.key!r} has {height} x {width} pixels but input.size is {size} and input.fit=exact; "
                f"set input.fit=resize to scale images, or input.size to what they have"
            )
    return _stack([torch.from_numpy(sample.image) for sample in samples], channels)


def _center(image: npt.NDArray[np.uint8], shorter: int, size: int) -> torch.Tensor:
    # A very long strip scaled whole would take gigabytes; what lies far from the center is cropped away anyhow.
    height, width = image.shape[:2]
    most = 4 * min(height, width)
    top, left = max(0, height - most) // 2, max(0, width - most) // 2
    pixels = _scaled(image[top : top + most, left : left + most], [shorter])
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return pixels[top : top + size, left : left + size]


def _crop(image: npt.NDArray[np.uint8], uniforms: npt.NDArray[np.float64], size: int) -> torch.Tensor:
    top, left, height, width = crop_box(image.shape[0], image.shape[1], uniforms)
    return _scaled(image[top : top + height, left : left + width], [size, size])


def _scaled(image: npt.NDArray[np.uint8], size: list[int]) -> torch.Tensor:
    """[H, W, C] -> [h, w, C]; one number in `size` is the shorter side."""
    scaled: torch.Tensor = tv.resize(torch.from_numpy(image).permute(2, 0, 1), size, antialias=True)
    return scaled.permute(1, 2, 0)


def _stack(images: Sequence[torch.Tensor], channels: int) -> torch.Tensor:
    """Images [S, S, 1 or 3], mixed as they come -> [N, channels, S, S]."""
    batch = torch.from_numpy(np.stack([_convert(image, channels).numpy() for image in images]))
    return batch.permute(0, 3, 1, 2).contiguous()


def _convert(image: torch.Tensor, channels: int) -> torch.Tensor:
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return image.expand(-1, -1, 3)
    grey: torch.Tensor = tv.rgb_to_grayscale(image.permute(2, 0, 1))
    return grey.permute(1, 2, 0)
