"""A picture of some samples with their labels, to see that they are what they should be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import Sample, Split
from mplframe.data.output import writing
from mplframe.errors import UserError

TILE = 96
"""Width and height of a sample in the picture, in pixels."""

_CAPTION = 14
_GAP = 6


def contact_sheet(split: Split, classes: Sequence[str], path: Path | str, n: int = 40) -> Path:
    """Write a PNG of up to `n` evenly spaced samples with their class names, `?` where there is none.

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
    columns = min(len(samples), max(1, math.ceil(math.sqrt(len(samples) * 1.6))))
    rows = math.ceil(len(samples) / columns)
    sheet = Image.new("RGB", (columns * (TILE + _GAP) + _GAP, rows * (TILE + _CAPTION + _GAP) + _GAP), (250, 250, 250))
    for i, sample in enumerate(samples):
        row, column = divmod(i, columns)
        _draw(sheet, sample, classes, (_GAP + column * (TILE + _GAP), _GAP + row * (TILE + _CAPTION + _GAP)))
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, "png")
    return path


def evenly_spaced(count: int, n: int) -> list[int]:
    """Up to `n` numbers below `count`, the first and the last among them, ascending and without repeats."""
    return np.unique(np.linspace(0, count - 1, min(n, count)).round().astype(np.int64)).tolist()  # type: ignore[no-any-return]


def _draw(sheet: Image.Image, sample: Sample, classes: Sequence[str], corner: tuple[int, int]) -> None:
    pixels = sample.image
    tile = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
    factor = TILE / max(tile.size)
    if factor >= 1:
        tile = tile.resize((tile.width * int(factor), tile.height * int(factor)), Image.Resampling.NEAREST)
    else:
        tile.thumbnail((TILE, TILE))
    x, y = corner
    sheet.paste(tile, (x + (TILE - tile.width) // 2, y + (TILE - tile.height) // 2))
    caption = "?" if sample.label == UNKNOWN else classes[sample.label]
    ImageDraw.Draw(sheet).text((x, y + TILE), _shortened(caption), fill=(20, 20, 20), font=ImageFont.load_default(10))


def _shortened(text: str, length: int = 16) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
