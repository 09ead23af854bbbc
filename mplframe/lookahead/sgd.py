"""SGD and classical momentum, as `torch.optim.SGD` defines them."""

from typing import Literal, final

import torch
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors
from mplframe.contracts.lookahead import Lookahead, Map
from mplframe.lookahead.momentum import pull_with, share_with, step_with
from mplframe.lookahead.state import Slot, for_each, mapped


@final
class SGD(Lookahead):
    """`f(g) = -lr (mu b + (1 - d) (g + lambda theta))` with velocity b, dampening d and weight decay lambda, so
    `f(g) - f(0) = -lr (1 - d) g`: momentum and weight decay are what would have happened anyway. The first step has no
    velocity and no dampening.
    """

    class Config(ComponentConfig):
        """No settings: they are the optimizer's."""

        name: Literal["sgd"] = "sgd"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def accepts(self, optimizer: torch.optim.Optimizer) -> bool:
        return is_descent(optimizer) and not any(group["nesterov"] for group in optimizer.param_groups)

    def displacement(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return for_each(displacement, optimizer, gradient)

    def label_part(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return for_each(share_with, optimizer, gradient)

    def pullback(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Map:
        return mapped(pull_with, optimizer, gradient)


def displacement(slot: Slot, gradient: Tensor) -> Tensor:
    """`f(g)` of one parameter, with or without Nesterov."""
    return step_with(slot, gradient + slot.decay)


def is_descent(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it is `torch.optim.SGD` itself, and minimises."""
    return type(optimizer) is torch.optim.SGD and not any(group["maximize"] for group in optimizer.param_groups)
