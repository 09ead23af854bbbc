import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mplframe.augmentation.basic import Flip

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, 1, 5, 6), dtype=np.uint8))


def test_only_the_chosen_are_mirrored() -> None:
    flip, before = Flip(), IMAGES.clone()
    draws = flip.draw(40, 6, np.random.default_rng(1))
    assert 10 < draws.values["chosen"].sum() < 30
    for image, result, chosen in zip(IMAGES, flip.apply(IMAGES, draws), draws.values["chosen"], strict=True):
        np.testing.assert_array_equal(result, image.numpy()[:, :, ::-1] if chosen else image)
    assert torch.equal(IMAGES, before)


def test_probability() -> None:
    def chosen(probability: float) -> float:
        flip = Flip(Flip.Config(probability=probability))
        return float(flip.draw(10_000, 8, np.random.default_rng(2)).values["chosen"].mean())

    assert (chosen(0.0), chosen(1.0)) == (0.0, 1.0)
    assert chosen(0.3) == pytest.approx(0.3, abs=0.02)
    with pytest.raises(ValidationError, match="probability"):
        Flip.Config(probability=1.1)
