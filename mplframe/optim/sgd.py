"""SGD with classical and Nesterov momentum: the torch optimizer, and the formula of its step (the lookahead)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self, final

import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors
from mplframe.contracts.optimizer import Lookahead, Map, OptimizerConfig, OptimizerFactory
from mplframe.optim.lookahead import Slot, for_each, mapped


def moved(update: Tensor, velocity: Tensor | None, *, momentum: float, dampening: float, nesterov: bool) -> Tensor:
    """What a step of length 1 takes away from the parameter.

    `b' = mu b + (1 - d) u`, but `b' = u` before the first step. Then `u + mu b'` with Nesterov, `b'` without, and u
    itself where mu is 0.

    Args:
        update: u, the gradient with weight decay in it.
        velocity: b, like u, or None before the first step.
        momentum: mu.
        dampening: d.
        nesterov: look ahead along the velocity.
    """
    if not momentum:
        return update
    after = update if velocity is None else momentum * velocity + (1.0 - dampening) * update
    return update + momentum * after if nesterov else after


def share(velocity: Tensor | None, *, momentum: float, dampening: float, nesterov: bool) -> float:
    """How much of u there is in `moved`, which is linear in it: its derivative. Arguments as of `moved`."""
    if not momentum:
        return 1.0
    kept = 1.0 if velocity is None else 1.0 - dampening
    return 1.0 + momentum * kept if nesterov else kept


def step_with(slot: Slot, update: Tensor) -> Tensor:
    """`-lr moved(u)`, with the velocity and the settings of the slot."""
    step: Tensor = -slot.group["lr"] * moved(update, slot.state.get("momentum_buffer"), **_settings(slot))
    return step


def share_with(slot: Slot, update: Tensor) -> Tensor:
    """`-lr share u`: the part of `step_with` that is linear in u."""
    return _slope(slot) * update


def pull_with(slot: Slot, update: Tensor) -> Callable[[Tensor], Tensor]:
    """The derivative of `step_with`, which is the same for every u."""
    slope = _slope(slot)
    return lambda vector: slope * vector


def _slope(slot: Slot) -> float:
    slope: float = -slot.group["lr"] * share(slot.state.get("momentum_buffer"), **_settings(slot))
    return slope


def _settings(slot: Slot) -> dict[str, Any]:
    return {name: slot.group[name] for name in ("momentum", "dampening", "nesterov")}


@final
class SGDLookahead(Lookahead):
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


@final
class NesterovLookahead(Lookahead):
    """`f(g) = -lr (G + mu b')` with `G = g + lambda theta` and `b' = mu b + G`, so `f(g) - f(0) = -lr (1 + mu) g`."""

    class Config(ComponentConfig):
        """No settings: they are the optimizer's."""

        name: Literal["nesterov"] = "nesterov"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def accepts(self, optimizer: torch.optim.Optimizer) -> bool:
        return is_descent(optimizer) and all(group["nesterov"] for group in optimizer.param_groups)

    def displacement(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return for_each(displacement, optimizer, gradient)

    def label_part(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return for_each(share_with, optimizer, gradient)

    def pullback(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Map:
        return mapped(pull_with, optimizer, gradient)
