"""Which frames of a video make up a clip, and batches of clips as batches of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from mplframe.contracts.data import Augmentation, Clips, Draws


def clip_frames(length: int, clips: Clips) -> npt.NDArray[np.int64]:
    """[clips, frames] the numbers of the frames that clips are made of.

    Args:
        length: frames of the video, at least one.
        clips: what is wanted of it. Where the video is too short its last frame is repeated.
    """
    beginnings = max(0, length - 1 - (clips.frames - 1) * clips.stride) + 1
    firsts = np.minimum(np.floor(np.asarray(clips.positions) * beginnings), beginnings - 1).astype(np.int64)
    frames: npt.NDArray[np.int64] = firsts[:, None] + np.arange(clips.frames) * clips.stride
    return np.minimum(frames, length - 1)


def evenly(count: int) -> tuple[float, ...]:
    """`count` positions from the first clip of a video to its last; a single one lies in the middle."""
    return tuple(np.linspace(0.0, 1.0, count).tolist()) if count > 1 else (0.5,)


def augment(images: torch.Tensor, augmentations: Sequence[Augmentation], draws: Sequence[Draws]) -> torch.Tensor:
    """Images, or clips whose frames are all changed alike, after some augmentations.

    Args:
        images: [N, C, H, W] uint8, or [N, ..., C, H, W] with any dimensions of frames between.
        augmentations: in order.
        draws: of each, with N rows.

    Returns:
        The shape of `images`.
    """

    def change(frame: torch.Tensor) -> torch.Tensor:
        for augmentation, drawn in zip(augmentations, draws, strict=True):
            frame = augmentation.apply(frame, drawn)
        return frame

    if images.ndim == 4:
        return change(images)
    # Frame by frame, so that a row is a sample whatever an augmentation does with rows.
    frames = [change(frame) for frame in images.flatten(1, -4).unbind(1)]
    return torch.stack(frames, 1).view(images.shape)
