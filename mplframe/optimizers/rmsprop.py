"""RMSProp as TensorFlow defines it, which is the papers' RMSProp."""

from typing import Annotated, Any, Literal, final

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from timm.optim.rmsprop_tf import RMSpropTF

from mplframe.contracts.optimizer import OptimizerConfig, OptimizerFactory


@final
class RMSProp(OptimizerFactory):
    """`timm.optim.RMSpropTF`. With gradient g, weight decay w, decay a, momentum m and learning rate lr, a step is

    `u = g + w theta;  v = a v + (1 - a) u^2;  b = m b + lr u / sqrt(v + eps);  theta -= b`, from v = 1 and b = 0.

    `torch.optim.RMSprop` starts from v = 0, adds eps outside the root and keeps lr out of b: another optimizer.
    Defaults are those of EfficientNet (Tan & Le, 2019, section 5.2, and its published code for eps) with the learning
    rate of Noisy Student (section 3.1); MPL v4, C.4 keeps the defaults of the architecture.
    """

    class Config(OptimizerConfig):
        """Settings of RMSProp.

        Attributes:
            lr: peak learning rate, for one step. The default is meant for 2,048 labeled images a step.
            decay: what is kept of the mean square from step to step.
            momentum: what is kept of the velocity from step to step.
            eps: what is added to the mean square, inside the root.
            weight_decay: L2 penalty of the parameters that decay, added to the gradient.
            decay_all: norms and biases decay too.
        """

        name: Literal["rmsprop"] = "rmsprop"
        lr: PositiveFloat = 0.128
        decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
        momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
        eps: PositiveFloat = 1e-3
        weight_decay: NonNegativeFloat = 1e-5

    config: Config

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimizer over parameter groups that already carry their `weight_decay`."""
        config = self.config
        optimizer: torch.optim.Optimizer = RMSpropTF(
            groups, lr=config.lr, alpha=config.decay, momentum=config.momentum, eps=config.eps
        )
        return optimizer
