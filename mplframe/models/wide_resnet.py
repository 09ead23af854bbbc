"""Wide ResNet as semi-supervised learning uses it.

Zagoruyko & Komodakis, "Wide Residual Networks" (BMVC 2016), in the variant of Oliver et al., "Realistic Evaluation of
Deep Semi-Supervised Learning Algorithms" (NeurIPS 2018). WRN-28-2 is the network of MPL v4, section 3.2.
"""

from typing import Literal, final

import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.errors import UserError
from mplframe.models.settings import Rate


@final
class WideResNet(Architecture):
    """Builds WRN-`depth`-`width`: three groups of pre-activation blocks at full, half and quarter resolution."""

    class Config(ComponentConfig):
        """Settings of a Wide ResNet.

        Attributes:
            depth: number of convolutions, those of the three shortcuts included: 6n + 4, with n blocks a group.
            width: what the group widths 16, 32 and 64 are multiplied by.
            dropout: rate before the prediction layer (MPL v4, tables 6 to 8).
            leak: slope of the ReLU for negative inputs.
            bn_decay: weight of the old batch statistics in their running average; torch calls 1 - decay "momentum".
            bn_eps: what is added to variances.
        """

        name: Literal["wide_resnet"] = "wide_resnet"
        depth: PositiveInt = 28
        width: PositiveInt = 2
        dropout: Rate = 0.0
        leak: Rate = 0.1
        bn_decay: Rate = 0.99
        bn_eps: PositiveFloat = 1e-3

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def build(self, spec: ImageSpec) -> nn.Module:
        """[N, channels, size, size] -> [N, classes], for any size.

        Raises:
            UserError: the depth isn't 6n + 4.
        """
        blocks_per_group(self.config.depth)
        return _Network(self.config, spec)


def blocks_per_group(depth: int) -> int:
    """n of depth = 6n + 4.

    Raises:
        UserError: there is none.
    """
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        near = max(10, 6 * round((depth - 4) / 6) + 4)
        raise UserError(f"wide_resnet: depth {depth} isn't 6n + 4 (10, 16, 22, 28, ...); set depth: {near}")
    return blocks


class _Network(nn.Module):
    def __init__(self, config: WideResNet.Config, spec: ImageSpec) -> None:
        super().__init__()
        widths = [16, *(base * config.width for base in (16, 32, 64))]
        self.stem = _conv(spec.channels, widths[0])
        self.groups = nn.ModuleList(
            _group(config, widths[i], widths[i + 1], stride=1 if i == 0 else 2, first=i == 0) for i in range(3)
        )
        self.norm = _Activation(widths[-1], config)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(widths[-1], spec.classes)
        _initialise(self, config.leak)

    def forward(self, images: Tensor) -> Tensor:  # [N, channels, size, size] -> [N, classes]
        x: Tensor = self.stem(images)
        for group in self.groups:
            x = group(x)
        features = self.norm(x).mean((2, 3))  # [N, 64 width]
        logits: Tensor = self.head(self.dropout(features))
        return logits


class _Block(nn.Module):
    """`x + conv(act(conv(act(x))))`, with a 1x1 convolution of x where the width changes."""

    def __init__(self, config: WideResNet.Config, inputs: int, outputs: int, *, stride: int, shared: bool) -> None:
        super().__init__()
        self.shared = shared
        self.norm1 = _Activation(inputs, config)
        self.conv1 = _conv(inputs, outputs, stride=stride)
        self.norm2 = _Activation(outputs, config)
        self.conv2 = _conv(outputs, outputs)
        self.shortcut = nn.Identity() if inputs == outputs else _conv(inputs, outputs, kernel=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        active = self.norm1(x)
        # Only the first block of the network feeds its shortcut with the activation (Oliver et al.).
        skipped: Tensor = self.shortcut(active if self.shared else x)
        residual: Tensor = self.conv2(self.norm2(self.conv1(active)))
        return skipped + residual


class _Activation(nn.BatchNorm2d):
    """Batch norm, then leaky ReLU."""

    def __init__(self, features: int, config: WideResNet.Config) -> None:
        super().__init__(features, eps=config.bn_eps, momentum=1.0 - config.bn_decay)
        self.leak = config.leak

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(super().forward(x), self.leak, inplace=True)


def _group(config: WideResNet.Config, inputs: int, outputs: int, *, stride: int, first: bool) -> nn.Sequential:
    head = _Block(config, inputs, outputs, stride=stride, shared=first)
    rest = blocks_per_group(config.depth) - 1
    return nn.Sequential(head, *(_Block(config, outputs, outputs, stride=1, shared=False) for _ in range(rest)))


def _conv(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)


def _initialise(network: nn.Module, leak: float) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, a=leak, mode="fan_out", nonlinearity="leaky_relu")
        elif isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
            nn.init.zeros_(module.bias)
