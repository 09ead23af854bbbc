"""R(2+1)D, a residual network for video clips.

Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition" (CVPR 2018); Billion-scale, 5.1.
"""

from typing import ClassVar, Literal, final

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, R2Plus1dStem, VideoResNet

from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.models.settings import Rate


def between(inputs: int, outputs: int) -> int:
    """Channels between a 1 x 3 x 3 and a 3 x 1 x 1 convolution that have the parameters of one 3 x 3 x 3 convolution.

    `floor(27 a b / (9 a + 3 b))` from a to b channels (Tran et al., section 3.5).
    """
    return 27 * inputs * outputs // (9 * inputs + 3 * outputs)


class R2Plus1DSettings(ComponentConfig):
    """Settings of an R(2+1)D network.

    Attributes:
        frames: of a clip; Billion-scale, table 7: 8 or 32. An image is taken for a clip that stands still for so long.
        dropout: rate before the prediction layer.
        bn_decay: weight of the old batch statistics in their running average; torch calls 1 - decay "momentum".
        bn_eps: what is added to variances.
    """

    frames: PositiveInt = 8
    dropout: Rate = 0.0
    bn_decay: Rate = 0.9
    bn_eps: PositiveFloat = 1e-3


class R2Plus1D(Architecture):
    """Builds torchvision's VideoResNet with factored convolutions of the paper's width.

    torchvision gives both convolutions of a block the width that suits the first one, which makes the first block of a
    stage smaller than the paper's: 31.5 M rather than 33.4 M parameters at depth 18.

    Attributes:
        blocks: of each of the four stages.
    """

    Config: type[R2Plus1DSettings]
    blocks: ClassVar[tuple[int, int, int, int]]

    def __init__(self, config: R2Plus1DSettings | None = None) -> None:
        self.config = config or self.Config.model_validate({})

    def build(self, spec: ImageSpec) -> nn.Module:
        """[N, channels, frames, size, size] clips or [N, channels, size, size] images -> [N, classes]."""
        return _Network(self.blocks, self.config, spec)


@final
class R2Plus1D18(R2Plus1D):
    """R(2+1)D-18: 33.4 M parameters with 400 classes."""

    class Config(R2Plus1DSettings):
        """Those of every R(2+1)D network."""

        name: Literal["r2plus1d_18"] = "r2plus1d_18"

    blocks = (2, 2, 2, 2)


@final
class R2Plus1D34(R2Plus1D):
    """R(2+1)D-34: 63.7 M parameters with 400 classes."""

    class Config(R2Plus1DSettings):
        """Those of every R(2+1)D network."""

        name: Literal["r2plus1d_34"] = "r2plus1d_34"

    blocks = (3, 4, 6, 3)


class _Factored(Conv2Plus1D):  # type: ignore[misc]
    """A 1 x 3 x 3 and a 3 x 1 x 1 convolution whose width suits them, whatever the block asks for."""

    def __init__(self, inputs: int, outputs: int, _: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, between(inputs, outputs), stride)


class _Network(nn.Module):
    def __init__(self, blocks: tuple[int, int, int, int], config: R2Plus1DSettings, spec: ImageSpec) -> None:
        super().__init__()
        self.frames = config.frames
        self.body = VideoResNet(
            BasicBlock, [_Factored] * 4, blocks, lambda: _stem(spec.channels), num_classes=spec.classes
        )
        self.body.fc = nn.Sequential(nn.Dropout(config.dropout), self.body.fc)
        for module in self.body.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eps, module.momentum = config.bn_eps, 1.0 - config.bn_decay

    def forward(self, clips: Tensor) -> Tensor:
        if clips.ndim == 4:
            clips = clips.unsqueeze(2).expand(-1, -1, self.frames, -1, -1)
        logits: Tensor = self.body(clips)
        return logits


def _stem(channels: int) -> nn.Module:
    stem: nn.Sequential = R2Plus1dStem()
    if channels != 3:
        stem[0] = nn.Conv3d(channels, 45, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False)
    return stem
