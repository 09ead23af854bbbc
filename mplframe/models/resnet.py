"""ResNets and ResNeXts by the names that the papers call them. Parameters are counted with 1,000 classes.

He et al. (CVPR 2016), Xie et al. (CVPR 2017); MPL v4, section 3.2, and Billion-scale, section 4.1.
"""

from typing import Any, ClassVar, Literal, NamedTuple, final

from pydantic import PositiveFloat
from timm.models.resnet import BasicBlock, Bottleneck
from timm.models.resnet import ResNet as TimmResNet
from torch import nn

from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.models.settings import PublishedSettings, Rate, batch_norm


class Shape(NamedTuple):
    """What makes one ResNet differ from another.

    Attributes:
        blocks: residual blocks of each of the four stages.
        groups: of the 3 x 3 convolutions.
        group_width: channels of each group in the first stage.
        bottleneck: blocks of a 1 x 1, a 3 x 3 and a 1 x 1 convolution rather than of two 3 x 3.
    """

    blocks: tuple[int, int, int, int]
    groups: int = 1
    group_width: int = 64
    bottleneck: bool = True


class ResNetSettings(PublishedSettings):
    """Settings of a ResNet.

    Attributes:
        bn_decay: weight of the old batch statistics in their running average; torch calls 1 - decay "momentum". MPL v4,
            tables 6 to 8: 0.99.
        zero_init: the last batch norm of each residual block starts with a scale of 0 (Goyal et al., 2017, section 5.1,
            whose procedure Billion-scale follows); otherwise of 1.
    """

    bn_decay: Rate = 0.9
    bn_eps: PositiveFloat = 1e-5
    zero_init: bool = True


class ResNet(Architecture):
    """Builds timm's ResNet of one shape; where a block halves the resolution, its 3 x 3 convolution does.

    Attributes:
        shape: what makes one size differ from another.
    """

    Config: type[ResNetSettings]
    shape: ClassVar[Shape]

    def __init__(self, config: ResNetSettings | None = None) -> None:
        self.config = config or self.Config.model_validate({})

    def build(self, spec: ImageSpec) -> nn.Module:
        """[N, channels, size, size] -> [N, classes], for any size."""
        return resnet(self.shape, self.config, spec)


def resnet(shape: Shape, settings: ResNetSettings, spec: ImageSpec) -> nn.Module:
    """A ResNet of this shape, freshly initialised."""
    block: Any = Bottleneck if shape.bottleneck else BasicBlock
    network: nn.Module = TimmResNet(
        block,
        shape.blocks,
        num_classes=spec.classes,
        in_chans=spec.channels,
        cardinality=shape.groups,
        base_width=shape.group_width,
        norm_layer=batch_norm(settings),
        drop_rate=settings.dropout,
        drop_path_rate=settings.stochastic_depth,
        zero_init_last=settings.zero_init,
    )
    return network


@final
class ResNet18(ResNet):
    """ResNet-18: 11.7 M parameters. Billion-scale, table 3, counts 8.6 M, which no ResNet-18 of 1,000 classes has."""

    class Config(ResNetSettings):
        """Those of every ResNet."""

        name: Literal["resnet18"] = "resnet18"

    shape = Shape((2, 2, 2, 2), bottleneck=False)


@final
class ResNet50(ResNet):
    """ResNet-50: 25.6 M parameters."""

    class Config(ResNetSettings):
        """Those of every ResNet."""

        name: Literal["resnet50"] = "resnet50"

    shape = Shape((3, 4, 6, 3))


@final
class ResNeXt50(ResNet):
    """ResNeXt-50 32x4: 25.0 M parameters."""

    class Config(ResNetSettings):
        """Those of every ResNet."""

        name: Literal["resnext50_32x4d"] = "resnext50_32x4d"

    shape = Shape((3, 4, 6, 3), groups=32, group_width=4)


@final
class ResNeXt101W4(ResNet):
    """ResNeXt-101 32x4: 44.2 M parameters."""

    class Config(ResNetSettings):
        """Those of every ResNet."""

        name: Literal["resnext101_32x4d"] = "resnext101_32x4d"

    shape = Shape((3, 4, 23, 3), groups=32, group_width=4)


@final
class ResNeXt101W8(ResNet):
    """ResNeXt-101 32x8: 88.8 M parameters."""

    class Config(ResNetSettings):
        """Those of every ResNet."""

        name: Literal["resnext101_32x8d"] = "resnext101_32x8d"

    shape = Shape((3, 4, 23, 3), groups=32, group_width=8)


@final
class ResNeXt101W16(ResNet):
    """ResNeXt-101 32x16: 194.0 M parameters."""

    class Config(ResNetSettings):
        """Those of every ResNet."""

        name: Literal["resnext101_32x16d"] = "resnext101_32x16d"

    shape = Shape((3, 4, 23, 3), groups=32, group_width=16)


@final
class ResNeXt101W48(ResNet):
    """ResNeXt-101 32x48, the default teacher of Billion-scale: 828.4 M parameters."""

    class Config(ResNetSettings):
        """Those of every ResNet."""

        name: Literal["resnext101_32x48d"] = "resnext101_32x48d"

    shape = Shape((3, 4, 23, 3), groups=32, group_width=48)
