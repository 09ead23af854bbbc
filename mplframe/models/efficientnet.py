"""EfficientNet-B0 to B7, L2 and B6-Wide, with the scaling of the papers.

B0 to B7: Tan & Le, "EfficientNet" (ICML 2019). L2: Noisy Student, section 3.1. B6-Wide: MPL v4, section 4.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal, NamedTuple, final

from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.efficientnet import EfficientNet as TimmEfficientNet
from torch import nn

from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.models.settings import PublishedSettings, Rate, batch_norm

STAGES = [
    ["ds_r1_k3_s1_e1_c16_se0.25"],
    ["ir_r2_k3_s2_e6_c24_se0.25"],
    ["ir_r2_k5_s2_e6_c40_se0.25"],
    ["ir_r3_k3_s2_e6_c80_se0.25"],
    ["ir_r3_k5_s1_e6_c112_se0.25"],
    ["ir_r4_k5_s2_e6_c192_se0.25"],
    ["ir_r1_k3_s1_e6_c320_se0.25"],
]
"""Table 1 of EfficientNet in timm's notation: block, repeats, kernel, stride, expansion, channels, squeeze."""
STEM, HEAD = 32, 1280
"""Channels, before scaling."""


class Scaling(NamedTuple):
    """What the channels and the repeats of B0 are multiplied by."""

    width: float
    depth: float


class EfficientNetSettings(PublishedSettings):
    """Settings of an EfficientNet. The defaults of `dropout` are those of its published code.

    Attributes:
        stochastic_depth: rate r at which blocks are skipped, block l = 0, 1, ... of L at the rate r l / L. Noisy
            Student, section 3.1, says 1 - r = 0.8 of the last layer; the published code counts from 0, as here.
        stride: pixels of the input to one of the last feature map, in each direction. 4 is for images of 32 pixels: the
            stem and the next two halvings keep the resolution, as in MPL's published code on CIFAR-10 and SVHN.
    """

    stochastic_depth: Rate = 0.2
    stride: Literal[32, 4] = 32


def efficientnet(scaling: Scaling, settings: EfficientNetSettings, spec: ImageSpec) -> nn.Module:
    """timm's EfficientNet with TensorFlow's padding and batch norm, which the papers trained with."""
    channels = partial(round_channels, multiplier=scaling.width)
    network: nn.Module = TimmEfficientNet(
        decode_arch_def(STAGES, depth_multiplier=scaling.depth),  # type: ignore[no-untyped-call]
        num_classes=spec.classes,
        num_features=channels(HEAD),
        in_chans=spec.channels,
        stem_size=STEM,
        round_chs_fn=channels,
        pad_type="same",
        act_layer=nn.SiLU,
        norm_layer=batch_norm(settings),
        drop_rate=settings.dropout,
        drop_path_rate=settings.stochastic_depth,
    )
    if settings.stride == 4:
        _keep_resolution(network)
    return network


def _keep_resolution(network: nn.Module) -> None:
    """Let the stem and the first two stages that halve the image leave it as large as it is."""
    stem, depthwise = network.get_submodule("conv_stem"), ("blocks.1.0.conv_dw", "blocks.2.0.conv_dw")
    for convolution in (stem, *map(network.get_submodule, depthwise)):
        assert isinstance(convolution, nn.Conv2d)
        convolution.stride = (1, 1)


class EfficientNet(Architecture):
    """Builds the EfficientNet of one scaling.

    Attributes:
        scaling: what makes one size differ from another.
    """

    Config: type[EfficientNetSettings]
    scaling: ClassVar[Scaling]

    def __init__(self, config: EfficientNetSettings | None = None) -> None:
        self.config = config or self.Config.model_validate({})

    def build(self, spec: ImageSpec) -> nn.Module:
        """[N, channels, size, size] -> [N, classes], for any size."""
        return efficientnet(self.scaling, self.config, spec)


@final
class EfficientNetB0(EfficientNet):
    """EfficientNet-B0: 5.3 M parameters; 224 x 224 pixels in its paper."""

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b0"] = "efficientnet_b0"
        dropout: Rate = 0.2

    scaling = Scaling(width=1.0, depth=1.0)


@final
class EfficientNetB1(EfficientNet):
    """EfficientNet-B1: 7.8 M parameters; 240 x 240 pixels in its paper."""

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b1"] = "efficientnet_b1"
        dropout: Rate = 0.2

    scaling = Scaling(width=1.0, depth=1.1)


@final
class EfficientNetB2(EfficientNet):
    """EfficientNet-B2: 9.1 M parameters; 260 x 260 pixels in its paper."""

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b2"] = "efficientnet_b2"
        dropout: Rate = 0.3

    scaling = Scaling(width=1.1, depth=1.2)


@final
class EfficientNetB3(EfficientNet):
    """EfficientNet-B3: 12.2 M parameters; 300 x 300 pixels in its paper."""

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b3"] = "efficientnet_b3"
        dropout: Rate = 0.3

    scaling = Scaling(width=1.2, depth=1.4)


@final
class EfficientNetB4(EfficientNet):
    """EfficientNet-B4: 19.3 M parameters; 380 x 380 pixels in its paper."""

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b4"] = "efficientnet_b4"
        dropout: Rate = 0.4

    scaling = Scaling(width=1.4, depth=1.8)


@final
class EfficientNetB5(EfficientNet):
    """EfficientNet-B5: 30.4 M parameters; 456 x 456 pixels in its paper."""

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b5"] = "efficientnet_b5"
        dropout: Rate = 0.4

    scaling = Scaling(width=1.6, depth=2.2)


@final
class EfficientNetB6(EfficientNet):
    """EfficientNet-B6: 43.0 M parameters; 528 x 528 pixels in its paper."""

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b6"] = "efficientnet_b6"
        dropout: Rate = 0.5

    scaling = Scaling(width=1.8, depth=2.6)


@final
class EfficientNetB7(EfficientNet):
    """EfficientNet-B7: 66.3 M parameters; 600 x 600 pixels in its paper."""

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b7"] = "efficientnet_b7"
        dropout: Rate = 0.5

    scaling = Scaling(width=2.0, depth=3.1)


@final
class EfficientNetB6Wide(EfficientNet):
    """EfficientNet-B6-Wide: 316.6 M parameters; 512 x 512 pixels in training (MPL v4, section 4).

    The depth of B6 and a width of 5.0, as MPL v4 says and its published code has it. MPL v4 counts 390 M parameters,
    which these multipliers don't give: at this width B7's depth of 3.1 would make 398.5 M, and a depth of 2.6 needs a
    width of 5.55. Nor is the width of B6 2.1, as it says, but 1.8.
    """

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b6_wide"] = "efficientnet_b6_wide"
        dropout: Rate = 0.5

    scaling = Scaling(width=5.0, depth=2.6)


@final
class EfficientNetL2(EfficientNet):
    """EfficientNet-L2: 480.3 M parameters; 512 x 512 pixels in training (MPL v4, section 4).

    Noisy Student trains it with 475 x 475 pixels; dropout and stochastic depth as in its section 3.1.
    """

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_l2"] = "efficientnet_l2"
        dropout: Rate = 0.5

    scaling = Scaling(width=4.3, depth=5.3)
