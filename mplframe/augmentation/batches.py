"""Batches as the arrays that OpenCV works on."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch

Pixels = npt.NDArray[np.uint8]


def pixels(images: torch.Tensor) -> Pixels:
    """[N, C, H, W] uint8 on the CPU -> [N, H, W, C], C-contiguous; a copy unless `images` are channels_last or grey."""
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())


def batch(array: Pixels) -> torch.Tensor:
    """[N, H, W, C] -> [N, C, H, W] that shares its memory: channels_last."""
    return torch.from_numpy(array).permute(0, 3, 1, 2)


def planes(images: Pixels) -> Pixels:
    """[N, H, W, C] -> [C, N, H, W], C-contiguous; a view where C = 1."""
    n, height, width, channels = images.shape
    if channels == 1:
        return images.reshape(1, n, height, width)
    return np.array(cv2.split(tall(images)), np.uint8).reshape(channels, n, height, width)


def joined(planes: Pixels) -> Pixels:
    """[C, N, H, W], C-contiguous -> [N, H, W, C]."""
    channels, n, height, width = planes.shape
    if channels == 1:
        return planes.reshape(n, height, width, 1)
    merged = cv2.merge(list(planes.reshape(channels, n * height, width)))
    return np.asarray(merged, np.uint8).reshape(n, height, width, channels)


def tall(images: Pixels) -> Pixels:
    """[N, H, W, C] -> [N * H, W, C], one image below the other: OpenCV knows no batches."""
    return images.reshape(-1, *images.shape[2:])
