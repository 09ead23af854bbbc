import numpy as np
import pytest
import torch

from mplframe.augmentation.basic import Cutout

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(128, 256, (60, 3, 9, 9), dtype=np.uint8))


@pytest.mark.parametrize("side", [1, 4, 5, 30])
def test_equals_painting_one_by_one(side: int) -> None:
    cutout = Cutout(Cutout.Config(size=side, value=7))
    draws = cutout.draw(60, 9, np.random.default_rng(1))
    results = cutout.apply(IMAGES, draws)
    for i, image in enumerate(IMAGES.numpy().copy()):
        top, left = (int(draws.values[name][i]) - side // 2 for name in ("row", "column"))
        image[:, max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)] = 7
        np.testing.assert_array_equal(results[i], image)
    assert IMAGES.min() >= 128


def test_every_pixel_is_a_center_equally_often() -> None:
    draws = Cutout().draw(81_000, 9, np.random.default_rng(2)).values
    counts = np.histogram2d(draws["row"], draws["column"], bins=9)[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 124.8  # chi-squared, 80 degrees of freedom, 0.1 %
