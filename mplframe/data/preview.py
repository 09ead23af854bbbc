"""What networks see in training: samples of a batch in both views, with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mplframe.contracts.batch import UNKNOWN, Batch, Samples
from mplframe.data.contact_sheet import Tile, caption, frames_row, tile_sheet
from mplframe.errors import UserError


def preview_sheet(batch: Batch, classes: Sequence[str], path: Path | str, n: int = 8) -> list[str]:
    """Write a PNG with the first `n` samples of each stream, one a column: a row for each view that training makes. Of
    clips, each has a row of its frames for each view.

    Args:
        batch: views are [N, C, H, W] or [N, T, C, H, W] uint8.
        classes: names in index order.
        path: of the PNG.
        n: samples of each stream.

    Returns:
        The names of the rows, from top to bottom, such as `unlabeled strong` or, of clips, `unlabeled 0 strong`.

    Raises:
        UserError: the file can't be written, or the views aren't images.
        RunError: the disk is full.
    """
    streams = {"labeled": batch.labeled, "unlabeled": batch.unlabeled}
    rows: dict[str, list[Tile]] = {}
    for name, samples in streams.items():
        if samples is not None:
            found = _clips(samples, classes, n) if samples.weak.ndim == 5 else _rows(samples, classes, n)
            rows |= {f"{name} {view}": tiles for view, tiles in found.items()}
    tile_sheet(list(rows.values()), path)
    return list(rows)


def _rows(samples: Samples, classes: Sequence[str], n: int) -> dict[str, list[Tile]]:
    captions = _captions(samples, classes, n)
    return {
        view: [Tile(_pixels(image), f"{view}: {text}") for image, text in zip(images[:n], captions, strict=True)]
        for view, images in _views(samples).items()
    }


def _clips(samples: Samples, classes: Sequence[str], n: int) -> dict[str, list[Tile]]:
    return {
        f"{number} {view}": frames_row(_pixels(clips[number]), f"{view}: {text}")
        for number, text in enumerate(_captions(samples, classes, n))
        for view, clips in _views(samples).items()
    }


def _captions(samples: Samples, classes: Sequence[str], n: int) -> list[str]:
    labels = [UNKNOWN] * len(samples) if samples.labels is None else samples.labels.tolist()
    return [caption(label, classes) for label in labels[:n]]


def _views(samples: Samples) -> dict[str, torch.Tensor]:
    return {"weak": samples.weak, **({} if samples.strong is None else {"strong": samples.strong})}


def _pixels(image: torch.Tensor) -> npt.NDArray[np.uint8]:
    """[C, H, W] -> [H, W, C], or [T, C, H, W] -> [T, H, W, C]."""
    if image.dtype != torch.uint8:
        raise UserError("this data set gives numbers that aren't images; there is nothing to preview")
    pixels: npt.NDArray[np.uint8] = image.movedim(-3, -1).numpy()
    return pixels
