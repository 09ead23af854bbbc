import numpy as np
import pytest
import torch

from mplframe.augmentation.basic import Crop, Cutout, Flip, Noise
from mplframe.augmentation.batches import batch, joined, pixels, planes, tall
from mplframe.augmentation.randaugment import RandAugment
from mplframe.contracts.data import Augmentation

LAST = torch.channels_last


def images(channels: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, channels, 9, 7), dtype=np.uint8))


@pytest.mark.parametrize("channels", [1, 3])
def test_there_and_back_without_a_copy(channels: int) -> None:
    given = images(channels).contiguous(memory_format=LAST)
    array = pixels(given)
    assert array.flags.c_contiguous
    assert batch(array).data_ptr() == given.data_ptr()
    assert torch.equal(batch(array), given)
    assert torch.equal(batch(pixels(images(channels))), given)
    np.testing.assert_array_equal(planes(array), given.permute(1, 0, 2, 3))
    np.testing.assert_array_equal(joined(planes(array)), array)
    np.testing.assert_array_equal(tall(array)[9:18], array[1])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augmentation", [Crop(), Cutout(Cutout.Config(size=3)), Flip(), Noise(), RandAugment()])
def test_how_a_batch_lies_in_memory_makes_no_difference(augmentation: Augmentation, channels: int) -> None:
    given = images(channels)[..., :7, :]
    draws = augmentation.draw(6, 7, np.random.default_rng(1))
    expected = augmentation.apply(given.contiguous(), draws)
    assert expected.shape == given.shape
    for same in (given, given.contiguous(memory_format=LAST), given.flip(0).flip(0).transpose(2, 3).transpose(2, 3)):
        assert torch.equal(augmentation.apply(same, draws), expected)
