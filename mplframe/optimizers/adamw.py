"""Adam, with weight decay beside the gradient."""

from typing import Annotated, Any, Literal, final

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat

from mplframe.contracts.optimizer import OptimizerConfig, OptimizerFactory

Beta = Annotated[float, Field(ge=0.0, lt=1.0)]


@final
class AdamW(OptimizerFactory):
    """`torch.optim.AdamW` (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2). With
    gradient g, weight decay w, betas a and b and learning rate lr, step t = 1, 2, ... is

    `m = a m + (1 - a) g;  v = b v + (1 - b) g^2`, from m = v = 0;
    `theta -= lr w theta + lr (m / (1 - a^t)) / (sqrt(v / (1 - b^t)) + eps)`.

    Defaults are those of `torch.optim.AdamW`.
    """

    class Config(OptimizerConfig):
        """Settings of AdamW.

        Attributes:
            lr: peak learning rate, for one step.
            betas: what is kept from step to step of the mean gradient and of the mean square.
            eps: what is added to the root of the mean square.
            weight_decay: a step shrinks the parameters that decay by the factor 1 - lr * weight_decay.
            decay_all: norms and biases decay too.
        """

        name: Literal["adamw"] = "adamw"
        lr: PositiveFloat = 0.001
        betas: tuple[Beta, Beta] = (0.9, 0.999)
        eps: PositiveFloat = 1e-8
        weight_decay: NonNegativeFloat = 0.01

    config: Config

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimizer over parameter groups that already carry their `weight_decay`."""
        config = self.config
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps)
