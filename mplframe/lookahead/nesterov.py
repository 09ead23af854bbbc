"""Nesterov momentum, as `torch.optim.SGD(nesterov=True)` defines it."""

from typing import Literal, final

import torch
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors
from mplframe.contracts.lookahead import Lookahead
from mplframe.lookahead.sgd import by_formula, is_sgd
from mplframe.lookahead.state import per_parameter


def displacement(
    parameter: Tensor, gradient: Tensor, velocity: Tensor | None, *, lr: float, momentum: float, weight_decay: float
) -> Tensor:
    """`f(g) = -lr (G + mu b')` with `G = g + lambda theta` and `b' = mu b + G`; b is 0 before the first step.

    Args:
        parameter: theta.
        gradient: g, like theta.
        velocity: b, like theta, or None before the first step.
        lr: learning rate.
        momentum: mu.
        weight_decay: lambda.
    """
    total = gradient + weight_decay * parameter
    after = total if velocity is None else momentum * velocity + total
    return -lr * (total + momentum * after)


@final
class Nesterov(Lookahead):
    """`f(g) - f(0) = -lr (1 + mu) g`."""

    class Config(ComponentConfig):
        """No settings: they are the optimizer's."""

        name: Literal["nesterov"] = "nesterov"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def accepts(self, optimizer: torch.optim.Optimizer) -> bool:
        return is_sgd(optimizer) and all(group["nesterov"] for group in optimizer.param_groups)

    def displacement(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return by_formula(displacement, optimizer, gradient)

    def label_part(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return self.pullback(optimizer, gradient, gradient)

    def pullback(self, optimizer: torch.optim.Optimizer, gradient: Tensors, vector: Tensors) -> Tensors:
        return tuple(
            -group["lr"] * (1.0 + group["momentum"]) * u for _, u, group, _ in per_parameter(optimizer, vector)
        )
