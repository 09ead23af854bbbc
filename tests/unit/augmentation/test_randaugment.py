from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mplframe.augmentation.batches import batch, pixels
from mplframe.augmentation.operations import OPERATIONS, Surroundings
from mplframe.augmentation.randaugment import RandAugment
from mplframe.contracts.data import Draws


def pictures(n: int, channels: int = 3, size: int = 16) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(n).integers(0, 256, (n, channels, size, size), dtype=np.uint8))


@pytest.mark.parametrize(
    ("n", "channels", "size"), [(41, 3, 32), (41, 1, 28), (41, 1, 8), (41, 3, 8), (13, 3, 128), (5, 3, 300)]
)
def test_a_batch_equals_one_image_at_a_time(n: int, channels: int, size: int) -> None:
    randaugment = RandAugment()
    images = pictures(n, channels, size)
    before = images.clone()
    draws = randaugment.draw(n, size, np.random.default_rng(0))
    results = randaugment.apply(images, draws)
    names, whole = list(OPERATIONS), pixels(images)
    for i in range(n):
        image = whole[i : i + 1]
        for choice, negative in zip(draws.values["choices"][i], draws.values["negative"][i], strict=True):
            operation = OPERATIONS[names[choice]]
            strength = operation.strength(10 / 30, size) * (-1 if negative and operation.signed else 1)
            image = operation.apply(image, strength, Surroundings(127, whole, np.array([i])))
        assert torch.equal(results[i], batch(image)[0])
    assert torch.equal(images, before)


def test_threads_may_share_it() -> None:
    randaugment, images = RandAugment(), pictures(24, size=64)
    draws = [randaugment.draw(24, 64, np.random.default_rng(i)) for i in range(12)]
    expected = [randaugment.apply(images, each) for each in draws]
    with ThreadPoolExecutor(4) as pool:
        for result, alone in zip(pool.map(lambda each: randaugment.apply(images, each), draws), expected, strict=True):
            assert torch.equal(result, alone)


def test_slices_at_even_rows_are_slices_of_the_result() -> None:
    randaugment, images = RandAugment(RandAugment.Config(magnitude=27)), pictures(21)
    draws = randaugment.draw(21, 16, np.random.default_rng(1))
    whole = randaugment.apply(images, draws)
    for start, stop in ((0, 6), (6, 20), (20, 21)):
        assert torch.equal(randaugment.apply(images[start:stop], draws.rows(start, stop)), whole[start:stop])


def test_an_empty_batch() -> None:
    draws = RandAugment().draw(0, 8, np.random.default_rng(0))
    assert RandAugment().apply(pictures(2)[:0], draws).shape == (0, 3, 16, 16)


def test_operations_are_drawn_uniformly_and_independently() -> None:
    choices = RandAugment().draw(45_000, 8, np.random.default_rng(2)).values["choices"]
    counts = np.histogram2d(*choices.T, bins=15)[0]
    assert ((counts - 200) ** 2 / 200).sum() < 291  # chi-squared, 224 degrees of freedom, 0.1 %


def test_a_list_of_names_and_a_single_round() -> None:
    randaugment = RandAugment(RandAugment.Config(num_ops=1, operations=("invert",)))
    images = pictures(3)
    draws = randaugment.draw(3, 16, np.random.default_rng(3))
    assert isinstance(draws, Draws)
    assert torch.equal(randaugment.apply(images, draws), 255 - images)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"operations": ["rotat"]}, "unknown operation 'rotat'; did you mean 'rotate'"),
        ({"operations": []}, "empty list of operations"),
        ({"magnitude": 31}, "magnitude"),
        ({"num_ops": 0}, "num_ops"),
    ],
)
def test_configs_that_mean_nothing(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RandAugment.Config(**config)  # type: ignore[arg-type]
