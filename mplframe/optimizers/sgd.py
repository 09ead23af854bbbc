"""Stochastic gradient descent with (Nesterov) momentum."""

from typing import Annotated, Any, Literal, Self, final

import torch
from pydantic import Field, PositiveFloat, model_validator

from mplframe.contracts.optimizer import OptimizerConfig, OptimizerFactory


@final
class SGD(OptimizerFactory):
    """`torch.optim.SGD`. With gradient g, decay w, momentum m and learning rate lr, a step is

    `u = g + w theta;  b = m b + u  (b = u at first);  theta -= lr (u + m b)` with Nesterov, `theta -= lr b` without.

    MPL v4, C.4: Nesterov momentum 0.9 for WideResNet-28-2 and ResNet-50.
    """

    class Config(OptimizerConfig):
        """Settings of SGD.

        Attributes:
            lr: peak learning rate, for one step. The default is that of MPL's student on CIFAR-10 (MPL v4, table 8).
            momentum: what is kept of the velocity from step to step.
            nesterov: look ahead along the velocity; needs momentum.
            weight_decay: L2 penalty of the parameters that decay, added to the gradient.
            decay_all: norms and biases decay too.
        """

        name: Literal["sgd"] = "sgd"
        lr: PositiveFloat = 0.3
        momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
        nesterov: bool = True

        @model_validator(mode="after")
        def _nesterov_needs_momentum(self) -> Self:
            if self.nesterov and not self.momentum:
                raise ValueError("nesterov needs a momentum above 0; set nesterov: false for plain gradient descent")
            return self

    config: Config

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimizer over parameter groups that already carry their `weight_decay`."""
        config = self.config
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov)
