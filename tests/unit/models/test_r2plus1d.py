import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, R2Plus1dStem, VideoResNet

from mplframe.contracts.architecture import ImageSpec
from mplframe.models.r2plus1d import PublishedR2Plus1D, R2Plus1D, R2Plus1D18, R2Plus1D34, between
from mplframe.testing import check_architecture

KINETICS = ImageSpec(size=112, channels=3, classes=400, frames=8)


def on_meta(architecture: PublishedR2Plus1D) -> nn.Module:
    with torch.device("meta"):
        return architecture.build(KINETICS)


@pytest.mark.parametrize(("cls", "parameters"), [(R2Plus1D18, 33_370_839), (R2Plus1D34, 63_697_175)])
def test_parameters_are_the_papers(cls: type[PublishedR2Plus1D], parameters: int) -> None:
    assert sum(p.numel() for p in on_meta(cls()).parameters()) == parameters  # Billion-scale, table 7: 33 M and 64 M


@pytest.mark.parametrize(
    ("cls", "frames", "billions"), [(R2Plus1D18, 8, 21), (R2Plus1D18, 32, 83), (R2Plus1D34, 8, 38)]
)
def test_multiplications_of_a_clip_are_the_papers(cls: type[PublishedR2Plus1D], frames: int, billions: int) -> None:
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


def test_it_is_torchvisions_network_with_the_papers_width() -> None:
    torch.manual_seed(0)
    ours = R2Plus1D18().build(ImageSpec(size=16, channels=3, classes=5, frames=4)).eval()
    theirs = VideoResNet(BasicBlock, [_PapersWidth] * 4, R2Plus1D18.blocks, R2Plus1dStem, num_classes=5).eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eps = 1e-3
    clips = torch.randn(2, 3, 4, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(ours(clips), theirs(clips))


class _PapersWidth(Conv2Plus1D):  # type: ignore[misc]
    def __init__(self, inputs: int, outputs: int, _: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, 27 * inputs * outputs // (9 * inputs + 3 * outputs), stride)


def test_settings_reach_the_layers() -> None:
    network = on_meta(R2Plus1D18(R2Plus1D18.Config(dropout=0.4, bn_decay=0.99, bn_eps=1e-5)))
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm3d)]
    assert {(n.momentum, n.eps) for n in norms} == {(1.0 - 0.99, 1e-5)}
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.4]


@pytest.mark.parametrize("channels", [1, 3])
def test_it_keeps_the_contract(channels: int) -> None:
    config = R2Plus1D.Config(blocks=(1, 2), width=8)
    spec = ImageSpec(size=16, channels=channels, classes=3, frames=3)
    check_architecture(lambda: R2Plus1D(config), spec)
