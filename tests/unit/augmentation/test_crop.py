import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv

from mplframe.augmentation.basic import Crop
from mplframe.errors import DataError

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8))


@pytest.mark.parametrize(("mode", "theirs"), [("reflect", "reflect"), ("zero", "constant")])
def test_equals_padding_and_cropping_one_by_one(mode: str, theirs: str) -> None:
    crop = Crop(Crop.Config(padding=3, mode=mode))  # type: ignore[arg-type]
    draws = crop.draw(20, 8, np.random.default_rng(1))
    before = IMAGES.clone()
    ours = crop.apply(IMAGES, draws)
    for i, image in enumerate(IMAGES):
        padded = tv.pad(image, [3, 3, 3, 3], padding_mode=theirs)
        expected = tv.crop(padded, int(draws.values["top"][i]), int(draws.values["left"][i]), 8, 8)
        assert torch.equal(ours[i], expected)
    assert torch.equal(IMAGES, before)


def test_places_are_uniform() -> None:
    draws = Crop().draw(90_000, 32, np.random.default_rng(2)).values
    counts = np.histogram2d(draws["top"], draws["left"], bins=9)[0]
    expected = 90_000 / 81
    assert ((counts - expected) ** 2 / expected).sum() < 124.8  # chi-squared, 80 degrees of freedom, 0.1 %


def test_a_slice_of_draws_is_the_slice_of_the_result() -> None:
    crop = Crop()
    draws = crop.draw(20, 8, np.random.default_rng(3))
    assert torch.equal(crop.apply(IMAGES, draws)[5:11], crop.apply(IMAGES[5:11], draws.rows(5, 11)))


def test_padding_wider_than_the_mirror() -> None:
    with pytest.raises(DataError, match="padding 8 can't be mirrored in images of 8 pixels; choose at most 7"):
        Crop(Crop.Config(padding=8)).draw(1, 8, np.random.default_rng(0))
    assert Crop(Crop.Config(padding=8, mode="zero")).draw(1, 8, np.random.default_rng(0)).values["top"].shape == (1,)
