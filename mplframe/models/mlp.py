"""A fully connected network."""

from itertools import pairwise
from typing import Literal, final

from pydantic import PositiveFloat, PositiveInt
from torch import nn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
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
