"""ResNets against a count by hand, and against the networks that timm has by name."""

import pytest
import timm
import torch
from timm.layers import DropPath
from timm.models.resnet import Bottleneck
from torch import nn

from mplframe.contracts.architecture import ImageSpec
from mplframe.models.resnet import (
    ResNet,
    ResNet18,
    ResNet50,
    ResNeXt50,
    ResNeXt101W4,
    ResNeXt101W8,
    ResNeXt101W16,
    ResNeXt101W48,
    Shape,
)
from mplframe.testing import check_architecture

IMAGENET = ImageSpec(size=224, channels=3, classes=1000)
ALL: tuple[type[ResNet], ...] = (
    ResNet18, ResNet50, ResNeXt50, ResNeXt101W4, ResNeXt101W8, ResNeXt101W16, ResNeXt101W48,
)  # fmt: skip


def on_meta(architecture: ResNet, spec: ImageSpec = IMAGENET) -> nn.Module:
    with torch.device("meta"):
        return architecture.build(spec)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def counted(shape: Shape, classes: int) -> int:
    """Parameters by hand: convolutions without bias, two numbers a channel for each batch norm, one linear layer."""

    def convolution(a: int, b: int, kernel: int, groups: int = 1) -> int:
        return a * b * kernel**2 // groups + 2 * b

    inputs, total = 64, convolution(3, 64, 7)
    for stage, blocks in enumerate(shape.blocks):
        inner = shape.groups * shape.group_width * 2**stage
        outputs = 256 * 2**stage if shape.bottleneck else inner
        for _ in range(blocks):
            if shape.bottleneck:
                total += convolution(inputs, inner, 1) + convolution(inner, inner, 3, shape.groups)
                total += convolution(inner, outputs, 1)
            else:
                total += convolution(inputs, inner, 3) + convolution(inner, outputs, 3)
            total += convolution(inputs, outputs, 1) if inputs != outputs else 0
            inputs = outputs
    return total + (inputs + 1) * classes


@pytest.mark.parametrize("cls", ALL)
def test_parameters_follow_the_shape(cls: type[ResNet]) -> None:
    assert parameters(on_meta(cls())) == counted(cls.shape, classes=1000)


@pytest.mark.parametrize(
    ("cls", "millions"),
    # Billion-scale, table 3. Its 8.6 M for ResNet-18 and 43 M for ResNeXt-101 32x4 are no such network's.
    [(ResNet50, 25), (ResNeXt50, 25), (ResNeXt101W8, 88), (ResNeXt101W16, 193), (ResNeXt101W48, 829)],
)
def test_parameters_are_the_papers(cls: type[ResNet], millions: int) -> None:
    assert abs(parameters(on_meta(cls())) / 1e6 - millions) < 1.1


def test_resnet_50_is_that_of_mpl() -> None:
    assert round(parameters(on_meta(ResNet50())), -5) == 25_600_000  # MPL v4, section 3.2, cuts 25.56 M to 25.5


def test_two_counts_of_billion_scale_are_not_reached() -> None:
    assert parameters(on_meta(ResNet18())) == 11_689_512
    assert parameters(on_meta(ResNeXt101W4())) == 44_177_704


@pytest.mark.parametrize("cls", [cls for cls in ALL if cls is not ResNeXt101W48])
def test_the_network_is_timms_of_that_name(cls: type[ResNet]) -> None:
    with torch.device("meta"):
        theirs = timm.create_model(cls.Config.model_fields["name"].default)
    ours = on_meta(cls(cls.Config.model_validate({"bn_decay": 0.9})))
    # timm's momentum is 0.1, ours 1 - 0.9.
    assert str(ours).replace(str(1.0 - 0.9), "0.1") == str(theirs)


def test_settings_reach_the_layers() -> None:
    config = ResNet50.Config(dropout=0.1, stochastic_depth=0.2, bn_decay=0.99, bn_eps=1e-3)
    network = on_meta(ResNet50(config))
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(n.momentum, n.eps) for n in norms} == {(1.0 - 0.99, 1e-3)}
    rates = [m.drop_prob for m in network.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0.2 * block / 15 for block in range(1, 16)])
    assert network.drop_rate == 0.1


@pytest.mark.parametrize("zero", [True, False])
def test_residual_blocks_start_as_identities_on_request(zero: bool) -> None:
    network = ResNet50(ResNet50.Config(zero_init=zero)).build(ImageSpec(size=32, channels=3, classes=2))
    blocks = [m for m in network.modules() if isinstance(m, Bottleneck)]
    scales = torch.cat([block.bn3.weight.detach() for block in blocks])
    assert len(blocks) == 16
    assert torch.equal(scales, torch.zeros_like(scales) if zero else torch.ones_like(scales))


def test_resnet_18_keeps_the_contract() -> None:
    check_architecture(ResNet18, ImageSpec(size=32, channels=1, classes=3))
