"""Multilayer perceptrons: the plain one, and Reduced MPL's small teacher."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, final

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.errors import UserError
from mplframe.models.settings import Rate

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


@final
class MLP(Architecture):
    """Builds a multi-layer perceptron over the flattened input.

    The network of the TwoMoon experiment (MPL v4, section 3.1) is
    `{name: mlp, hidden: [8, 8], activation: sigmoid, init: 0.1}`. The teacher of Reduced MPL (MPL v4, appendix E) has
    five layers, `{name: mlp, hidden: [128, 128, 128, 128]}`, or 512 on ImageNet; it takes a distribution over C classes
    as an image of C channels and one pixel.
    """

    class Config(ComponentConfig):
        """Settings of a multi-layer perceptron.

        Attributes:
            hidden: units of each hidden layer; none makes the network linear.
            activation: after each hidden layer.
            dropout: rate after each hidden layer.
            init: `default` is torch's own; a number r draws weights and biases uniformly from [-r, r].
        """

        name: Literal["mlp"] = "mlp"
        hidden: tuple[PositiveInt, ...] = (256,)
        activation: Literal["relu", "sigmoid", "tanh"] = "relu"
        dropout: Rate = 0.0
        init: Literal["default"] | PositiveFloat = "default"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def build(self, spec: ImageSpec) -> nn.Module:
        """[N, channels, size, size], flattened or not, -> [N, classes]."""
        config = self.config
        sizes = (spec.channels * spec.size**2, *config.hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), ACTIVATIONS[config.activation](), nn.Dropout(config.dropout)]
        network = nn.Sequential(*layers, nn.Linear(sizes[-1], spec.classes))
        if config.init != "default":
            for parameter in network.parameters():
                nn.init.uniform_(parameter, -config.init, config.init)
        return network


class Calibration(nn.Module):
    """`log q + f(q)`, with f a perceptron whose last layer begins at 0: at first q comes out as it went in.

    Args:
        body: f, [N, C] -> [N, C].
    """

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.body = body
        last = body[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, distributions: Tensor) -> Tensor:
        """[N, C] probabilities -> [N, C] logits."""
        q = distributions.flatten(1)
        logits: Tensor = q.clamp_min(torch.finfo(torch.float32).tiny).log() + self.body(q)
        return logits


@final
class CalibrationMLP(Architecture):
    """Five layers with ReLU (MPL v4, appendix E): 128 units for CIFAR-10, 512 for ImageNet."""

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            hidden: units of each hidden layer.
            identity: begin as the identity map, which appendix E expects the network to stay close to; it doesn't say
                how the network begins. One that begins at random labels at random until feedback has taught it.
        """

        name: Literal["calibration_mlp"] = "calibration_mlp"
        hidden: tuple[PositiveInt, ...] = (128, 128, 128, 128)
        identity: bool = True

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def build(self, spec: ImageSpec) -> nn.Module:
        """[N, C] probabilities, or images of one pixel with C channels, -> [N, C] logits.

        Raises:
            UserError: it is to begin as the identity map, but takes something else than distributions.
        """
        if self.config.identity and spec != spec.of_distributions:
            raise UserError(
                "calibration_mlp takes distributions over the classes, not images; it is the teacher of reduced_mpl"
            )
        body = MLP(MLP.Config(hidden=self.config.hidden)).build(spec)
        if not self.config.identity:
            return body
        assert isinstance(body, nn.Sequential)
        return Calibration(body)
