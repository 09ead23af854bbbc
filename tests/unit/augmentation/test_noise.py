import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mplframe.augmentation.basic import Noise
from mplframe.errors import UserError

GREY = torch.full((4000, 3, 1, 1), 128, dtype=torch.uint8)


def added(std: float | tuple[float, ...], images: torch.Tensor = GREY) -> torch.Tensor:
    augmentation = Noise(Noise.Config(std=std))
    draws = augmentation.draw(len(images), images.shape[-1], np.random.default_rng(0))
    result = augmentation.apply(images, draws)
    assert (result.dtype, result.shape) == (torch.uint8, images.shape)
    return result.double() - images.double()


def test_it_has_the_deviation_asked_for_and_no_bias() -> None:
    difference = added(0.05)
    assert float(difference.std()) == pytest.approx(0.05 * 255, rel=0.03)
    assert float(difference.mean()) == pytest.approx(0.0, abs=0.35)  # 3 deviations of the mean


def test_each_value_has_noise_of_its_own() -> None:
    images = torch.full((2000, 3, 2, 2), 128, dtype=torch.uint8)
    correlation = np.corrcoef(added(0.05, images).flatten(1).numpy().T)
    assert np.abs(correlation - np.eye(12)).max() < 0.1


def test_a_channel_of_deviation_0_stays_as_it_is() -> None:
    difference = added((0.02, 0.08, 0.0))
    assert difference[:, 0].std() == pytest.approx(0.02 * 255, rel=0.05)
    assert difference[:, 1].std() == pytest.approx(0.08 * 255, rel=0.05)
    assert not difference[:, 2].any()


def test_what_leaves_the_range_is_cut_off_not_wrapped() -> None:
    dark, bright = torch.zeros_like(GREY), torch.full_like(GREY, 255)
    assert added(0.1, dark).min() == 0.0
    assert 0.45 < float((added(0.1, dark) == 0).double().mean()) < 0.55
    assert added(0.1, bright).max() == 0.0
    assert added(0.1, bright).min() > -128


def test_grey_images_take_one_value_and_stay_unchanged_themselves() -> None:
    images = torch.full((50, 1, 3, 3), 100, dtype=torch.uint8)
    assert added((0.1,), images).any()
    assert (images == 100).all()


def test_a_row_depends_on_its_place_in_the_batch_alone() -> None:
    augmentation = Noise()
    draws = augmentation.draw(10, 1, np.random.default_rng(3))
    whole = augmentation.apply(GREY[:10], draws)
    torch.testing.assert_close(augmentation.apply(GREY[4:7], draws.rows(4, 7)), whole[4:7])


def test_a_wrong_number_of_deviations_is_refused() -> None:
    with pytest.raises(UserError, match=r"std has 2 values, but images have 3 channel\(s\)"):
        added((0.1, 0.1))


@pytest.mark.parametrize("bad", [-0.1, 1.5, (), (0.1, -1.0)])
def test_bad_settings_are_refused(bad: object) -> None:
    with pytest.raises(ValidationError, match="std"):
        Noise.Config(std=bad)
