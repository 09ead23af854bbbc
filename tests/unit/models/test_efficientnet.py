"""EfficientNets against a count from the paper's table, and against the networks that timm has by name."""

import math

import pytest
import timm
import torch
from pydantic import ValidationError
from timm.layers import DropPath
from torch import nn

from mplframe.contracts.architecture import ImageSpec
from mplframe.models import efficientnet as names
from mplframe.models.efficientnet import EfficientNet, EfficientNetB0, EfficientNetB6Wide, EfficientNetL2
from mplframe.testing import check_architecture

IMAGENET = ImageSpec(size=224, channels=3, classes=1000)
SIZES = {f"b{i}": getattr(names, f"EfficientNetB{i}") for i in range(8)} | {"l2": EfficientNetL2}
PUBLISHED = {
    # Tan & Le, table 2 (B0 to B7).
    **{"b0": 5.3, "b1": 7.8, "b2": 9.2, "b3": 12, "b4": 19, "b5": 30, "b6": 43, "b7": 66},
    "l2": 480,  # MPL v4, table 4; Noisy Student, table 2
}
"""Millions of parameters."""
STAGES = [(1, 3, 1, 16), (2, 3, 6, 24), (2, 5, 6, 40), (3, 3, 6, 80), (3, 5, 6, 112), (4, 5, 6, 192), (1, 3, 6, 320)]
"""Repeats, kernel, expansion and channels of B0: Tan & Le, table 1."""


def on_meta(architecture: EfficientNet, spec: ImageSpec = IMAGENET) -> nn.Module:
    with torch.device("meta"):
        return architecture.build(spec)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def scaled(channels: int, width: float) -> int:
    """The nearest multiple of 8, but no more than a tenth below."""
    nearest = max(8, int(channels * width + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels * width else nearest


def counted(width: float, depth: float, classes: int) -> int:
    """Parameters by hand: convolutions, two for each channel of a batch norm, squeeze-and-excitation, one layer."""
    inputs = scaled(32, width)
    total = 27 * inputs + 2 * inputs
    for repeats, kernel, expansion, channels in STAGES:
        outputs = scaled(channels, width)
        for _ in range(math.ceil(repeats * depth)):
            wide, squeezed = inputs * expansion, inputs // 4
            total += (inputs * wide + 2 * wide if expansion > 1 else 0) + kernel**2 * wide + 2 * wide
            total += 2 * wide * squeezed + squeezed + wide + wide * outputs + 2 * outputs
            inputs = outputs
    features = scaled(1280, width)
    return total + inputs * features + 2 * features + (features + 1) * classes


@pytest.mark.parametrize("size", SIZES)
def test_parameters_are_the_papers(size: str) -> None:
    found = parameters(on_meta(SIZES[size]()))
    assert found == counted(*SIZES[size].scaling, classes=1000)
    # The paper's table rounds B2 up from 9.11.
    assert found / 1e6 == pytest.approx(PUBLISHED[size], rel=0.02)


@pytest.mark.parametrize("size", SIZES)
def test_the_network_is_timms_of_that_name(size: str) -> None:
    with torch.device("meta"):
        theirs = timm.create_model(f"tf_efficientnet_{size}", bn_momentum=1.0 - 0.99)
    ours = on_meta(SIZES[size](SIZES[size].Config(stochastic_depth=0.0)))
    assert str(ours) == str(theirs)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}


def test_b6_wide_has_the_size_of_its_multipliers_not_the_papers() -> None:
    found = parameters(on_meta(EfficientNetB6Wide()))
    assert found == counted(5.0, 2.6, classes=1000) == 316_649_180
    assert counted(5.0, 3.1, classes=1000) == 398_539_760  # MPL v4, table 4, says 390 M
    assert counted(5.55, 2.6, classes=1000) == pytest.approx(390e6, rel=0.003)


def test_the_last_layers_of_l2_survive_as_in_noisy_student() -> None:
    network = on_meta(EfficientNetL2())
    rates = [m.drop_prob for m in network.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0.2 * block / 88 for block in range(88) if block])
    assert network.drop_rate == 0.5


def test_settings_reach_the_layers() -> None:
    config = EfficientNetB0.Config(dropout=0.3, stochastic_depth=0.1, bn_decay=0.9, bn_eps=1e-5)
    network = on_meta(EfficientNetB0(config))
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(n.momentum, n.eps) for n in norms} == {(1.0 - 0.9, 1e-5)}
    assert max(m.drop_prob for m in network.modules() if isinstance(m, DropPath)) == pytest.approx(0.1 * 15 / 16)
    assert network.drop_rate == 0.3


@pytest.mark.parametrize(("size", "last_map"), [(32, 1), (33, 2), (64, 2)])
def test_images_of_any_size_shrink_32_times_as_tensorflow_pads(size: int, last_map: int) -> None:
    network = on_meta(EfficientNetB0())
    images = torch.empty(2, 3, size, size, device="meta")
    assert network.forward_features(images).shape == (2, 1280, last_map, last_map)


def test_stride_4_keeps_small_images_large() -> None:
    network = on_meta(EfficientNetB0(EfficientNetB0.Config(stride=4)), ImageSpec(size=32, channels=3, classes=10))
    images = torch.empty(2, 3, 32, 32, device="meta")
    maps = [tuple(m.shape[2:]) for m in network.forward_intermediates(images, intermediates_only=True)]
    assert network.conv_stem(images).shape[2:] == (32, 32)
    assert maps == [(32, 32), (32, 32), (32, 32), (16, 16), (8, 8)]


@pytest.mark.parametrize("stride", [4, 32])
def test_b0_keeps_the_contract(stride: int) -> None:
    config = EfficientNetB0.Config(stride=stride)
    check_architecture(lambda: EfficientNetB0(config), ImageSpec(size=16, channels=1, classes=3))


@pytest.mark.parametrize("bad", [{"dropout": 1.0}, {"stride": 8}, {"bn_eps": 0.0}, {"stochastic_depth": -0.1}])
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        EfficientNetB0.Config(**bad)
