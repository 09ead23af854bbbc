import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mplframe.contracts.architecture import ImageSpec
from mplframe.models.r2plus1d import R2Plus1D, R2Plus1D18, R2Plus1D34, between
from mplframe.testing import check_architecture

KINETICS = ImageSpec(size=112, channels=3, classes=400)


def on_meta(architecture: R2Plus1D) -> nn.Module:
    with torch.device("meta"):
        return architecture.build(KINETICS)


@pytest.mark.parametrize(("cls", "parameters"), [(R2Plus1D18, 33_370_839), (R2Plus1D34, 63_697_175)])
def test_parameters_are_the_papers(cls: type[R2Plus1D], parameters: int) -> None:
    assert sum(p.numel() for p in on_meta(cls()).parameters()) == parameters  # Billion-scale, table 7: 33 M and 64 M


@pytest.mark.parametrize(
    ("cls", "frames", "billions"), [(R2Plus1D18, 8, 21), (R2Plus1D18, 32, 83), (R2Plus1D34, 8, 38)]
)
def test_multiplications_of_a_clip_are_the_papers(cls: type[R2Plus1D], frames: int, billions: int) -> None:
    network = on_meta(cls()).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, frames, 112, 112, device="meta"))
    # Billion-scale, table 7, counts a multiplication and its addition as one.
    assert round(counter.get_total_flops() / 2e9) == billions


@pytest.mark.parametrize(("inputs", "outputs"), [(64, 64), (64, 128), (256, 512)])
def test_two_convolutions_have_the_parameters_of_one(inputs: int, outputs: int) -> None:
    middle = between(inputs, outputs)
    whole = 27 * inputs * outputs
    assert 0 <= whole - middle * (9 * inputs + 3 * outputs) < 9 * inputs + 3 * outputs


def test_an_image_is_a_clip_that_stands_still() -> None:
    torch.manual_seed(0)
    network = R2Plus1D18(R2Plus1D18.Config(frames=3)).build(ImageSpec(size=16, channels=3, classes=5)).eval()
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(network(images), network(torch.stack([images] * 3, dim=2)))


def test_settings_reach_the_layers() -> None:
    network = on_meta(R2Plus1D18(R2Plus1D18.Config(dropout=0.4, bn_decay=0.99, bn_eps=1e-5)))
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm3d)]
    assert {(n.momentum, n.eps) for n in norms} == {(1.0 - 0.99, 1e-5)}
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.4]


@pytest.mark.parametrize("channels", [1, 3])
def test_it_keeps_the_contract(channels: int) -> None:
    config = R2Plus1D18.Config(frames=2)
    check_architecture(lambda: R2Plus1D18(config), ImageSpec(size=16, channels=channels, classes=3))
