"""R(2+1)D, a residual network for video clips.

Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition" (CVPR 2018); Billion-scale, 5.1.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, final

from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D

from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.models.settings import Rate

WIDTH = 64
"""Channels of the published networks' first stage."""


def between(inputs: int, outputs: int) -> int:
    """Channels between a 1 x 3 x 3 and a 3 x 1 x 1 convolution that have the parameters of one 3 x 3 x 3 convolution.

    `floor(27 a b / (9 a + 3 b))` from a to b channels (Tran et al., section 3.5).
    """
    return 27 * inputs * outputs // (9 * inputs + 3 * outputs)


class R2Plus1DSettings(ComponentConfig):
    """Settings of an R(2+1)D network.

    Attributes:
        dropout: rate before the prediction layer.
        bn_decay: weight of the old batch statistics in their running average; torch calls 1 - decay "momentum".
        bn_eps: what is added to variances.
    """

    dropout: Rate = 0.0
    bn_decay: Rate = 0.9
    bn_eps: PositiveFloat = 1e-3


class PublishedR2Plus1D(Architecture):
    """A network of the papers' width.

    Attributes:
        blocks: of each of the four stages.
    """

    Config: type[R2Plus1DSettings]
    blocks: ClassVar[tuple[int, int, int, int]]

    def __init__(self, config: R2Plus1DSettings | None = None) -> None:
        self.config = config or self.Config.model_validate({})

    @property
    def clips(self) -> bool:
        return True

    def build(self, spec: ImageSpec) -> nn.Module:
        """[N, channels, frames, size, size] -> [N, classes]."""
        return _Network(self.blocks, WIDTH, self.config, spec)


@final
class R2Plus1D18(PublishedR2Plus1D):
    """R(2+1)D-18: 33.4 M parameters with 400 classes."""

    class Config(R2Plus1DSettings):
        """Those of every R(2+1)D network."""

        name: Literal["r2plus1d_18"] = "r2plus1d_18"

    blocks = (2, 2, 2, 2)


@final
class R2Plus1D34(PublishedR2Plus1D):
    """R(2+1)D-34: 63.7 M parameters with 400 classes."""

    class Config(R2Plus1DSettings):
        """Those of every R(2+1)D network."""

        name: Literal["r2plus1d_34"] = "r2plus1d_34"

    blocks = (3, 4, 6, 3)


@final
class R2Plus1D(Architecture):
    """R(2+1)D of any depth and width, such as one that is small enough for a CPU."""

    class Config(R2Plus1DSettings):
        """Its form, and what every R(2+1)D network has.

        Attributes:
            blocks: of each stage; each stage after the first halves frames, height and width.
            width: channels of the first stage; each stage after it has twice those of the one before.
        """

        name: Literal["r2plus1d"] = "r2plus1d"
        blocks: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 1, 1, 1)
        width: PositiveInt = 16

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    @property
    def clips(self) -> bool:
        return True

    def build(self, spec: ImageSpec) -> nn.Module:
        """[N, channels, frames, size, size] -> [N, classes]."""
        return _Network(self.config.blocks, self.config.width, self.config, spec)


class _Factored(Conv2Plus1D):  # type: ignore[misc]
    """A 1 x 3 x 3 and a 3 x 1 x 1 convolution whose width suits them.

    torchvision's block asks for the width that suits its first convolution in both, which makes the first block of a
    stage smaller than the paper's: 31.5 M rather than 33.4 M parameters at depth 18.
    """

    def __init__(self, inputs: int, outputs: int, _: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, between(inputs, outputs), stride)


class _Network(nn.Module):
    """torchvision's VideoResNet of any width."""

    def __init__(self, blocks: Sequence[int], width: int, settings: R2Plus1DSettings, spec: ImageSpec) -> None:
        super().__init__()
        self.stem = _stem(spec.channels, width)
        widths = [width * 2**stage for stage in range(len(blocks))]
        befores = [width, *widths[:-1]]
        self.stages = nn.Sequential(*map(_stage, befores, widths, blocks))
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.dropout = nn.Dropout(settings.dropout)
        self.classifier = nn.Linear(widths[-1], spec.classes)
        for module in self.modules():
            _initialise(module, settings)

    def forward(self, clips: Tensor) -> Tensor:
        features = self.pool(self.stages(self.stem(clips))).flatten(1)
        logits: Tensor = self.classifier(self.dropout(features))
        return logits


def _stem(channels: int, width: int) -> nn.Module:
    middle = 45 * width // WIDTH or 1
    return nn.Sequential(
        nn.Conv3d(channels, middle, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, width, (3, 1, 1), padding=(1, 0, 0), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Module:
    """Residual blocks, the first of which halves everything where the width changes."""
    if inputs == outputs:
        first = BasicBlock(inputs, outputs, _Factored)
    else:
        shortcut = nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm3d(outputs))
        first = BasicBlock(inputs, outputs, _Factored, 2, shortcut)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, _Factored) for _ in range(blocks - 1)))


def _initialise(module: nn.Module, settings: R2Plus1DSettings) -> None:
    """As torchvision does."""
    if isinstance(module, nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.BatchNorm3d):
        module.eps, module.momentum = settings.bn_eps, 1.0 - settings.bn_decay
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.01)
        nn.init.zeros_(module.bias)
