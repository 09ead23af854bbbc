"""EfficientNet of any scaling. Tan & Le, "EfficientNet" (ICML 2019)."""

from functools import partial
from typing import Literal, NamedTuple

from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.efficientnet import EfficientNet
from torch import nn

from mplframe.contracts.architecture import ImageSpec
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
    network: nn.Module = EfficientNet(
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
