from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mplframe.contracts.batch import Batch, Samples
from mplframe.data.inspecting.sheets import TILE, preview_sheet
from mplframe.errors import UserError

ROW, COLUMN, GAP = TILE + 14 + 6, TILE + 6, 6


def views(seed: int, count: int, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, 8, 8), generator=generator, dtype=torch.uint8)


def shown(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    """[8, 8, 3] the pixels of a tile before they were enlarged twelve times."""
    top, left = GAP + row * ROW, GAP + column * COLUMN
    return sheet[top : top + TILE : 12, left : left + TILE : 12]


def test_every_view_has_a_row(tmp_path: Path) -> None:
    labeled, weak, strong = views(0, 3), views(1, 5), views(2, 5)
    batch = Batch(Samples(labeled, None, torch.tensor([0, 1, 0])), Samples(weak, strong, torch.full((5,), -1)))
    rows = preview_sheet(batch, ["cat", "dog"], tmp_path / "deep/sheet.png", n=4)
    assert rows == ["labeled weak", "unlabeled weak", "unlabeled strong"]
    with Image.open(tmp_path / "deep/sheet.png") as image:
        sheet = np.asarray(image)
    assert sheet.shape == (3 * ROW + GAP, 4 * COLUMN + GAP, 3)
    for row, images in enumerate((labeled, weak, strong)):
        for column in range(min(4, len(images))):
            np.testing.assert_array_equal(shown(sheet, row, column), images[column].permute(1, 2, 0).numpy())


def test_grey_images_without_labels(tmp_path: Path) -> None:
    grey = views(0, 2, channels=1)
    assert preview_sheet(Batch(Samples(grey)), [], tmp_path / "sheet.png") == ["labeled weak"]
    with Image.open(tmp_path / "sheet.png") as image:
        sheet = np.asarray(image)
    np.testing.assert_array_equal(shown(sheet, 0, 1)[..., 0], grey[1, 0].numpy())


def test_what_is_not_an_image(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="numbers that aren't images"):
        preview_sheet(Batch(Samples(torch.zeros(2, 2, 1, 1))), ["a", "b"], tmp_path / "sheet.png")
