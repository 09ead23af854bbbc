"""RMSProp: the torch optimizer, and the formula of its step (the lookahead, a shadow update)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, final

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from timm.optim.rmsprop_tf import RMSpropTF
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors
from mplframe.contracts.optimizer import Lookahead, Map, OptimizerConfig, OptimizerFactory
from mplframe.optim.lookahead import Slot, for_each, mapped


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
class RMSPropLookahead(Lookahead):
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
