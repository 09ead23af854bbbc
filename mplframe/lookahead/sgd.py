"""SGD and classical momentum, as `torch.optim.SGD` defines them."""

from collections.abc import Callable
from typing import Any, Literal, final

import torch
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors
from mplframe.contracts.lookahead import Lookahead
from mplframe.lookahead.state import per_parameter


def displacement(
    parameter: Tensor, gradient: Tensor, velocity: Tensor | None, *, lr: float, momentum: float, weight_decay: float
) -> Tensor:
    """`f(g) = -lr (mu b + g + lambda theta)`; b, the velocity, is 0 before the first step.

    Args:
        parameter: theta.
        gradient: g, like theta.
        velocity: b, like theta, or None before the first step.
        lr: learning rate.
        momentum: mu.
        weight_decay: lambda.
    """
    total = gradient + weight_decay * parameter
    return -lr * (total if velocity is None else momentum * velocity + total)


@final
class SGD(Lookahead):
    """`f(g) - f(0) = -lr g`: momentum and weight decay are what would have happened anyway."""

    class Config(ComponentConfig):
        """No settings: they are the optimizer's."""

        name: Literal["sgd"] = "sgd"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def accepts(self, optimizer: torch.optim.Optimizer) -> bool:
        return is_sgd(optimizer) and not any(group["nesterov"] for group in optimizer.param_groups)

    def displacement(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return by_formula(displacement, optimizer, gradient)

    def label_part(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return self.pullback(optimizer, gradient, gradient)

    def pullback(self, optimizer: torch.optim.Optimizer, gradient: Tensors, vector: Tensors) -> Tensors:
        return tuple(-group["lr"] * u for _, u, group, _ in per_parameter(optimizer, vector))


def by_formula(formula: Callable[..., Tensor], optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
    """`formula` for each parameter, with the state and settings of `torch.optim.SGD`."""
    return tuple(
        formula(
            p,
            g,
            state.get("momentum_buffer"),
            lr=group["lr"],
            momentum=group["momentum"],
            weight_decay=group["weight_decay"],
        )
        for p, g, group, state in per_parameter(optimizer, gradient)
    )


def is_sgd(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it is `torch.optim.SGD` minimising without dampening."""
    return type(optimizer) is torch.optim.SGD and not any(map(_unusual, optimizer.param_groups))


def _unusual(group: dict[str, Any]) -> bool:
    return bool(group["dampening"] or group["maximize"])
