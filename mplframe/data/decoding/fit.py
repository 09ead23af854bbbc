"""Images, or clips of videos, of any size -> one batch of `size` x `size` pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torchvision.transforms.v2.functional as tv

from mplframe.contracts.data import Sample
from mplframe.errors import DataError

FitName = Literal["exact", "resize", "random_crop", "random_resized_crop"]
Box = tuple[int, int, int, int]
Pixels = npt.NDArray[np.uint8]
Put = Callable[[int, Pixels, Pixels], None]
"""Writes an image, or a frame, of the sample in this row into its place, [size, size, channels]."""

CROP_ATTEMPTS = 10
CROP_SCALE = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)


def draw_crops(batch: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """[batch, attempts, 4] uniforms in [0, 1): what `fit` needs for each image to crop it at random."""
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
    samples: Sequence[Sample],
    size: int,
    channels: int,
    how: FitName,
    crops: npt.NDArray[np.float64] | None = None,
    *,
    shorter: int | None = None,
) -> torch.Tensor:
    """Training input of a batch.

    Args:
        samples: N decoded images, or N decoded videos of T frames each: these are all fitted alike.
        size: height and width of the result, in pixels.
        channels: 1 or 3; colour becomes grey by its luma (ITU-R 601), grey becomes colour by repetition.
        how: see `InputConfig.fit`. Scaling is bilinear with antialiasing.
        crops: for random crops: [N, attempts, 4], from `draw_crops`.
        shorter: for `random_crop`: what the shorter side is scaled to, in pixels.

    Returns:
        [N, channels, size, size] or [N, T, channels, size, size] uint8, channels_last in memory.

    Raises:
        DataError: `exact` is asked for and an image has another size.
    """
    if how == "exact":
        _require_exact(samples, size)
        return _batch(samples, size, channels, lambda row, image, place: _keep(image, place))
    if how == "resize":
        return _batch(samples, size, channels, lambda row, image, place: _scaled_crop(image, size, place))
    assert crops is not None, "random crops have to be drawn"
    if how == "random_crop":
        assert shorter is not None, "random_crop scales images first"
        corners = crops[:, 0, 2:]  # [N, 2]
        return _batch(
            samples, size, channels, lambda row, image, place: _scaled_crop(image, shorter, place, corners[row])
        )
    return _batch(samples, size, channels, lambda row, image, place: _crop(image, crops[row], place))


def fit_evaluation(samples: Sequence[Sample], size: int, channels: int, how: FitName, eval_crop: float) -> torch.Tensor:
    """Evaluation input of a batch: `exact` where training is, else the shorter side goes to `evaluation_shorter` pixels
    and the center `size` x `size` is kept. Shapes and errors as of `fit`.
    """
    if how == "exact":
        return fit(samples, size, channels, how)
    shorter = evaluation_shorter(size, eval_crop)
    return _batch(samples, size, channels, lambda row, image, place: _scaled_crop(image, shorter, place))


def evaluation_shorter(size: int, eval_crop: float) -> int:
    """What the shorter side is scaled to for evaluation, in pixels: `size / eval_crop`."""
    return max(size, round(size / eval_crop))


def _batch(samples: Sequence[Sample], size: int, channels: int, put: Put) -> torch.Tensor:
    """[N, channels, size, size] or [N, T, channels, size, size], channels_last."""
    frames = samples[0].image.shape[:-3]  # () of images, (T,) of videos
    batch = np.empty((len(samples), *frames, size, size, channels), np.uint8)
    for row, (sample, place) in enumerate(zip(samples, batch, strict=True)):
        if not frames:
            put(row, sample.image, place)
            continue
        for image, part in zip(sample.image, place, strict=True):
            put(row, image, part)
    return torch.from_numpy(batch).movedim(-1, -3)


def _require_exact(samples: Sequence[Sample], size: int) -> None:
    for sample in samples:
        height, width = sample.image.shape[-3:-1]
        if (height, width) != (size, size):
            raise DataError(
                f"sample {sample.key!r} has {height} x {width} pixels but input.size is {size} and input.fit=exact; "
                f"set input.fit=resize to scale images, or input.size to what they have"
            )


def _scaled_crop(image: Pixels, shorter: int, place: Pixels, corner: npt.NDArray[np.float64] | None = None) -> None:
    """Scale the shorter side to `shorter` pixels, then crop the center, or where two uniforms in [0, 1) say."""
    # A very long strip scaled whole would take gigabytes; what lies far from the center is cropped away anyhow.
    height, width, channels = image.shape
    most = 4 * min(height, width)
    top, left = max(0, height - most) // 2, max(0, width - most) // 2
    seen = image[top : top + most, left : left + most]
    height, width = (shorter * side // min(height, width) for side in seen.shape[:2])
    scaled = np.empty((height, width, channels), np.uint8)
    _scale(seen, scaled)
    size = len(place)
    top, left = (height - size) // 2, (width - size) // 2
    if corner is not None:
        top, left = int(corner[0] * (height - size + 1)), int(corner[1] * (width - size + 1))
    _keep(scaled[top : top + size, left : left + size], place)


def _crop(image: Pixels, uniforms: npt.NDArray[np.float64], place: Pixels) -> None:
    top, left, height, width = crop_box(image.shape[0], image.shape[1], uniforms)
    box = image[top : top + height, left : left + width]
    if image.shape[2] == place.shape[2]:
        _scale(box, place)
    else:
        scaled = np.empty((*place.shape[:2], image.shape[2]), np.uint8)
        _scale(box, scaled)
        _keep(scaled, place)


def _scale(image: Pixels, place: Pixels) -> None:
    """[H, W, C] -> the size of `place`, [h, w, C]."""
    if image.shape == place.shape:
        place[...] = image
    else:
        # What F.interpolate calls, without its copies of a part of an image and of the result.
        torch.ops.aten._upsample_bilinear2d_aa.out(
            _tensor(image)[None], list(place.shape[:2]), align_corners=False, out=_tensor(place)[None]
        )


def _keep(image: Pixels, place: Pixels) -> None:
    """[S, S, 1 or 3] -> the channels of `place`, [S, S, 1 or 3]."""
    if image.shape[2] > place.shape[2]:
        place[...] = tv.rgb_to_grayscale(_tensor(image)).permute(1, 2, 0).numpy()
    else:
        place[...] = image


def _tensor(image: Pixels) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)
