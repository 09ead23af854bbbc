"""What the contracts don't know: each component's own formula, against an independent reference."""

import numpy as np
import pytest
import torch
from mplframe.contracts.architecture import ImageSpec
from mplframe.errors import DataError, UserError
from pydantic import ValidationError
from sklearn.datasets import load_digits

from mplframe_example.conv_mixer import ConvMixer
from mplframe_example.digits_parity import DigitsParity, divide
from mplframe_example.double import Double, inner
from mplframe_example.entropy_minimisation import entropy
from mplframe_example.sign import sign


def test_entropy_is_that_of_the_distribution() -> None:
    logits = torch.randn(20, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(entropy(logits), torch.distributions.Categorical(logits=logits).entropy())


def test_entropy_has_its_greatest_value_at_indecision_and_none_at_certainty() -> None:
    torch.testing.assert_close(entropy(torch.zeros(1, 4)), torch.tensor([4.0]).log())
    torch.testing.assert_close(entropy(torch.tensor([[1e4, 0.0, 0.0, 0.0]])), torch.zeros(1))


def test_sign_keeps_the_direction_alone() -> None:
    assert sign(torch.tensor([3e-9, -7e5, 0.0])).tolist() == [1.0, -1.0, 0.0]


def test_conv_mixer_has_the_weights_of_its_formula() -> None:
    config = ConvMixer.Config(width=8, depth=3, kernel=5, patch=2)
    network = ConvMixer(config).build(ImageSpec(size=8, channels=3, classes=10))
    norm = 2 * config.width
    stem = (3 * config.patch**2 + 1) * config.width + norm
    block = (config.kernel**2 + 1) * config.width + norm + (config.width + 1) * config.width + norm
    expected = stem + config.depth * block + (config.width + 1) * 10
    assert sum(p.numel() for p in network.parameters()) == expected


def test_conv_mixer_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValidationError, match="a kernel of 4 has no center"):
        ConvMixer.Config(kernel=4)
    with pytest.raises(UserError, match="patches of 3 pixels don't divide images of 8"):
        ConvMixer(ConvMixer.Config(patch=3)).build(ImageSpec(size=8, channels=1, classes=2))


def test_digits_parity_is_every_digit_once_with_its_parity() -> None:
    bunch = load_digits()
    expected = sorted(
        (np.rint(image * 255 / 16).astype(np.uint8).tobytes(), digit % 2)
        for image, digit in zip(bunch.images, bunch.target.tolist(), strict=True)
    )
    splits = [DigitsParity().split(name) for name in ("labeled", "unlabeled", "test")]
    samples = [sample for split in splits if split is not None for sample in split.read(range(len(split)))]
    assert sorted((s.image.tobytes(), s.label) for s in samples) == expected


def test_the_split_seed_chooses_labeled_digits_and_leaves_the_test_digits() -> None:
    first, second = (divide(100, labeled=10, test=20, seed=seed) for seed in (0, 1))
    assert np.array_equal(first["test"], second["test"])
    assert set(first["labeled"]) != set(second["labeled"])
    assert sorted(np.concatenate(list(second.values()))) == list(range(100))


def test_too_many_digits_are_refused() -> None:
    with pytest.raises(DataError, match="leave none of 1797 unlabeled"):
        DigitsParity(DigitsParity.Config(labeled=1397)).split("labeled")


def test_double_sums_in_float64() -> None:
    large, small = torch.tensor([1e8, 1.0]), torch.tensor([1.0, 1.0])
    assert inner((large,), (small,)).item() == 1e8 + 1.0
    module = Double().prepare(torch.nn.Linear(2, 2))
    assert {p.dtype for p in module.parameters()} == {torch.float64}
