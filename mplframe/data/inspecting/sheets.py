"""Contact sheets and previews of augmented views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont

from mplframe.contracts.batch import UNKNOWN, Batch, Samples
from mplframe.contracts.data import Split
from mplframe.errors import UserError
from mplframe.io.output import writing

TILE = 96
"""Width and height of a sample in the picture, in pixels."""

_CAPTION = 14
_GAP = 6


def contact_sheet(split: Split, classes: Sequence[str], path: Path | str, n: int = 40) -> Path:
    """Write a PNG of up to `n` evenly spaced samples with their class names, `?` where there is none; of a video some
    frames from the first to the last, in a row of their own.

    Small images are enlarged by a whole factor without smoothing, large ones are scaled down.

    Returns:
        The path.

    Raises:
        UserError: `n` is less than 1, or the file can't be written.
        DataError: a sample is damaged.
        RunError: the disk is full.
    """
    if n < 1:
        raise UserError(f"a contact sheet needs at least one sample, got n={n}")
    samples = split.read(evenly_spaced(len(split), n))
    videos = [frames_row(s.image, caption(s.label, classes)) for s in samples if s.image.ndim == 4]
    tiles = [Tile(s.image, caption(s.label, classes)) for s in samples if s.image.ndim == 3]
    columns = min(len(tiles), max(1, math.ceil(math.sqrt(len(tiles) * 1.6))))
    rows = [tiles[at : at + columns] for at in range(0, len(tiles), max(1, columns))]
    return tile_sheet([*rows, *videos], path)


@dataclass(frozen=True)
class Tile:
    """An image, [H, W, 3] or [H, W, 1] uint8, and the text below it."""

    image: npt.NDArray[np.uint8]
    caption: str


def tile_sheet(rows: Sequence[Sequence[Tile]], path: Path | str) -> Path:
    """Write a PNG of rows of images. Scaling and errors as of `contact_sheet`."""
    height, width = len(rows) * (TILE + _CAPTION + _GAP) + _GAP, max(map(len, rows)) * (TILE + _GAP) + _GAP
    sheet = Image.new("RGB", (width, height), (250, 250, 250))
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            _draw(sheet, tile, (_GAP + j * (TILE + _GAP), _GAP + i * (TILE + _CAPTION + _GAP)))
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, "png")
    return path


def frames_row(frames: npt.NDArray[np.uint8], text: str) -> list[Tile]:
    """The frames of a video, [T, H, W, C], side by side; the text is below the first."""
    return [Tile(frame, text if number == 0 else "") for number, frame in enumerate(frames)]


def caption(label: int, classes: Sequence[str]) -> str:
    """The class name of a label; `?` where there is none."""
    return "?" if label == UNKNOWN else classes[label]


def evenly_spaced(count: int, n: int) -> list[int]:
    """Up to `n` numbers below `count`, the first and the last among them, ascending and without repeats."""
    return np.unique(np.linspace(0, count - 1, min(n, count)).round().astype(np.int64)).tolist()  # type: ignore[no-any-return]


def _draw(sheet: Image.Image, drawn: Tile, corner: tuple[int, int]) -> None:
    pixels = drawn.image
    tile = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
    factor = TILE / max(tile.size)
    if factor >= 1:
        tile = tile.resize((tile.width * int(factor), tile.height * int(factor)), Image.Resampling.NEAREST)
    else:
        tile.thumbnail((TILE, TILE))
    x, y = corner
    sheet.paste(tile, (x + (TILE - tile.width) // 2, y + (TILE - tile.height) // 2))
    text = _shortened(drawn.caption)
    ImageDraw.Draw(sheet).text((x, y + TILE), text, fill=(20, 20, 20), font=ImageFont.load_default(10))


def _shortened(text: str, length: int = 16) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


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
