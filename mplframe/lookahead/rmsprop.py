"""The papers' RMSProp: epsilon inside the root, momentum with the learning rate in it (MPL v1, eq. 7-8)."""

from collections.abc import Callable
from typing import Any, Literal, final

import torch
from timm.optim.rmsprop_tf import RMSpropTF
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors
from mplframe.contracts.lookahead import Lookahead, Map
from mplframe.lookahead.state import Slot, for_each, mapped


def push(total: Tensor, square: Tensor, *, lr: float, decay: float, epsilon: float) -> Tensor:
    """What the gradient adds to the momentum: `lr G / sqrt(decay s + (1 - decay) G^2 + epsilon)`.

    Args:
        total: G, the gradient with weight decay in it.
        square: s, the moving average of squared gradients before the step.
        lr: learning rate.
        decay: of the moving average.
        epsilon: inside the root.
    """
    return lr * total / (decay * square + (1.0 - decay) * total.square() + epsilon).sqrt()


def push_slope(total: Tensor, square: Tensor, *, lr: float, decay: float, epsilon: float) -> Tensor:
    """The derivative of `push` with respect to G, elementwise: `lr (decay s + epsilon) / r^(3/2)`, r the radicand."""
    rest = decay * square + epsilon
    return lr * rest / (rest + (1.0 - decay) * total.square()).pow(1.5)


@final
class RMSProp(Lookahead):
    """`f(g) = -(mu m + push(g + lambda theta))`, for `timm.optim.RMSpropTF` with coupled weight decay."""

    class Config(ComponentConfig):
        """No settings: they are the optimizer's."""

        name: Literal["rmsprop"] = "rmsprop"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def accepts(self, optimizer: torch.optim.Optimizer) -> bool:
        return type(optimizer) is RMSpropTF and all(
            not group["centered"]
            and not group["decoupled_decay"]
            and not group.get("caution", False)
            and (group["lr_in_momentum"] or not group["momentum"])
            for group in optimizer.param_groups
        )

    def displacement(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return for_each(_displacement, optimizer, gradient)

    def label_part(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return for_each(_label_part, optimizer, gradient)

    def pullback(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Map:
        return mapped(_pullback, optimizer, gradient)


def _displacement(slot: Slot, gradient: Tensor) -> Tensor:
    move = push(gradient + slot.decay, _square(slot), **_settings(slot))
    if slot.group["momentum"] and "momentum_buffer" in slot.state:
        move = slot.group["momentum"] * slot.state["momentum_buffer"] + move
    return -move


def _label_part(slot: Slot, gradient: Tensor) -> Tensor:
    square, settings = _square(slot), _settings(slot)
    return push(slot.decay, square, **settings) - push(gradient + slot.decay, square, **settings)


def _pullback(slot: Slot, gradient: Tensor) -> Callable[[Tensor], Tensor]:
    slope = -push_slope(gradient + slot.decay, _square(slot), **_settings(slot))
    return lambda vector: slope * vector


def _square(slot: Slot) -> Tensor:
    square: Tensor = slot.state.get("square_avg", torch.ones_like(slot.parameter))
    return square


def _settings(slot: Slot) -> dict[str, Any]:
    return {"lr": slot.group["lr"], "decay": slot.group["alpha"], "epsilon": slot.group["eps"]}
