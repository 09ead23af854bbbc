"""A small convolutional network that trains fast on a CPU, for images of 8 to 32 pixels."""

from typing import Literal, final

from pydantic import PositiveInt
from torch import nn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.models.settings import Rate

SMALLEST_TO_HALVE = 8
"""Pixels. A smaller map keeps its size: below 4 x 4 a 3 x 3 kernel sees mostly padding."""


@final
class SmallCNN(Architecture):
    """Builds blocks of 3x3 convolution, batch norm and leaky ReLU, with max pooling between blocks."""

    class Config(ComponentConfig):
        """Settings of a small convolutional network.

        Attributes:
            channels: width of the first block; each block after it is twice as wide as the one before.
            blocks: how many.
            convolutions: in each block.
            dropout: rate before the prediction layer.
            leak: slope of the ReLU for negative inputs.
            bn_decay: weight of the old batch statistics in their running average; torch calls 1 - decay "momentum".
        """

        name: Literal["small_cnn"] = "small_cnn"
        channels: PositiveInt = 32
        blocks: PositiveInt = 3
        convolutions: PositiveInt = 1
        dropout: Rate = 0.0
        leak: Rate = 0.1
        bn_decay: Rate = 0.9

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def build(self, spec: ImageSpec) -> nn.Module:
        """[N, channels, size, size] -> [N, classes], for any size."""
        config = self.config
        layers: list[nn.Module] = []
        inputs, size = spec.channels, spec.size
        for block in range(config.blocks):
            outputs = config.channels * 2**block
            for _ in range(config.convolutions):
                layers += _convolution(config, inputs, outputs)
                inputs = outputs
            if block < config.blocks - 1 and size >= SMALLEST_TO_HALVE:
                layers.append(nn.MaxPool2d(2))
                size //= 2
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(config.dropout), nn.Linear(inputs, spec.classes))
        return nn.Sequential(*layers, *head)


def _convolution(config: SmallCNN.Config, inputs: int, outputs: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, a=config.leak, nonlinearity="leaky_relu")
    norm = nn.BatchNorm2d(outputs, momentum=1.0 - config.bn_decay)
    return [convolution, norm, nn.LeakyReLU(config.leak, inplace=True)]
