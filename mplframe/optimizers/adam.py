"""Adam, with weight decay as an L2 penalty."""

from typing import Annotated, Any, Literal, final

import torch
from pydantic import Field, PositiveFloat

from mplframe.contracts.optimizer import OptimizerConfig, OptimizerFactory

Beta = Annotated[float, Field(ge=0.0, lt=1.0)]


@final
class Adam(OptimizerFactory):
    """`torch.optim.Adam` (Kingma & Ba, 2015, algorithm 1). With gradient g, weight decay w, betas a and b and learning
    rate lr, step t = 1, 2, ... is

    `u = g + w theta;  m = a m + (1 - a) u;  v = b v + (1 - b) u^2`, from m = v = 0;
    `theta -= lr (m / (1 - a^t)) / (sqrt(v / (1 - b^t)) + eps)`.

    Defaults are those of the paper's algorithm. MPL v1, C.2 trains its reduced teacher with lr = 1e-4, eps = 1e-7
    and an L2 penalty of 1e-4.
    """

    class Config(OptimizerConfig):
        """Settings of Adam.

        Attributes:
            lr: peak learning rate, for one step.
            betas: what is kept from step to step of the mean gradient and of the mean square.
            eps: what is added to the root of the mean square.
            weight_decay: L2 penalty of the parameters that decay, added to the gradient.
            decay_all: norms and biases decay too.
        """

        name: Literal["adam"] = "adam"
        lr: PositiveFloat = 0.001
        betas: tuple[Beta, Beta] = (0.9, 0.999)
        eps: PositiveFloat = 1e-8

    config: Config

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimizer over parameter groups that already carry their `weight_decay`."""
        config = self.config
        return torch.optim.Adam(groups, lr=config.lr, betas=config.betas, eps=config.eps)
