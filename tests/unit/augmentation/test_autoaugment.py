import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.autoaugment import AutoAugmentPolicy

from mplframe.augmentation.autoaugment import POLICIES, AutoAugment
from mplframe.augmentation.operations import OPERATIONS
from mplframe.contracts.data import Draws

THEIRS = {"cifar": "cifar10", "imagenet": "imagenet", "svhn": "svhn"}


def torchvisions(policy: str) -> Any:
    return v2.AutoAugment(AutoAugmentPolicy(THEIRS[policy]), fill=127)


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def exact(name: str, level: int) -> float:
    """Our strength for torchvision's operation, whose own are of float32: in ties that decides."""
    strength = OPERATIONS[snake_case(name)].strength(level / 9, 24)
    if name == "Solarize":
        return math.ceil(strength) / 255  # of the whole range
    return float(round(strength)) if name == "Posterize" else strength


def drawn(choices: list[int], negative: bool) -> Draws:
    shape = (len(choices), 2)
    return Draws({"choices": np.array(choices), "applied": np.full(shape, True), "negative": np.full(shape, negative)})


@pytest.mark.parametrize("policy", POLICIES)
def test_policies_are_torchvisions(policy: str) -> None:
    theirs = [
        tuple((snake_case(name), probability, level or 0) for name, probability, level in pair)
        for pair in torchvisions(policy)._policies
    ]
    assert [tuple(tuple(use) for use in pair) for pair in POLICIES[policy]] == theirs


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
def test_pixels_are_torchvisions(policy: str, negative: bool, channels: int) -> None:
    transform = torchvisions(policy)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (25, channels, 24, 24), dtype=np.uint8))
    before = images.clone()
    ours = AutoAugment(AutoAugment.Config(policy=policy)).apply(images, drawn(list(range(25)), negative))  # type: ignore[arg-type]
    for image, changed, pair in zip(images, ours, transform._policies, strict=True):
        theirs = image
        for name, _, level in pair:
            magnitudes, signed = transform._AUGMENTATION_SPACE[name]
            given = 0.0 if level is None else float(magnitudes(10, 24, 24)[level])
            strength = exact(name, level or 0)
            assert strength == pytest.approx(given, abs=1 / 255 + 1e-6 if name == "Solarize" else 1e-6)
            strength = -strength if signed and negative else strength
            theirs = transform._apply_image_or_video_transform(
                theirs, name, strength, interpolation=transform.interpolation, fill=transform._fill
            )
        assert torch.equal(changed, theirs), pair
    assert torch.equal(images, before)


def test_what_is_not_applied_changes_nothing() -> None:
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, 3, 8, 8), dtype=np.uint8))
    draws = Draws({**drawn([0, 1, 2], negative=False).values, "applied": np.full((3, 2), False)})
    assert torch.equal(AutoAugment().apply(images, draws), images)


@pytest.mark.parametrize("policy", POLICIES)
def test_sub_policies_are_drawn_uniformly_and_applied_with_their_probabilities(policy: str) -> None:
    n = 50_000
    augmentation = AutoAugment(AutoAugment.Config(policy=policy))  # type: ignore[arg-type]
    values = augmentation.draw(n, 32, np.random.default_rng(2)).values
    counts = np.bincount(values["choices"], minlength=25)
    assert ((counts - n / 25) ** 2 / (n / 25)).sum() < 51  # chi-squared, 24 degrees of freedom, 0.1 %
    for number, pair in enumerate(POLICIES[policy]):
        share = values["applied"][values["choices"] == number].mean(0)
        assert share == pytest.approx([use.probability for use in pair], abs=4.5 * 0.5 / np.sqrt(n / 25))
    assert values["negative"].mean() == pytest.approx(0.5, abs=0.01)


def test_slices_are_slices_of_the_result() -> None:
    images = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (9, 1, 16, 16), dtype=np.uint8))
    draws = AutoAugment().draw(9, 16, np.random.default_rng(4))
    whole = AutoAugment().apply(images, draws)
    assert torch.equal(AutoAugment().apply(images[4:7], draws.rows(4, 7)), whole[4:7])
