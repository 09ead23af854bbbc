"""Adam and AdamW: the torch optimizers, and the formula of their step (the lookahead)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, final

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors
from mplframe.contracts.optimizer import Lookahead, Map, OptimizerConfig, OptimizerFactory
from mplframe.optim.lookahead import Slot, for_each, mapped


class Averages(NamedTuple):
    """Adam's two moving averages after a step, corrected for their bias, as functions of the gradient G of that step:
    `mean + mean_gain G` and `square + square_gain G^2`.
    """

    mean: Tensor
    mean_gain: Tensor
    square: Tensor
    square_gain: Tensor


def averages(mean: Tensor, square: Tensor, steps: Tensor, *, betas: tuple[float, float]) -> Averages:
    """The averages of step `steps + 1`.

    Args:
        mean: m, the moving average of gradients before the step.
        square: v, that of squared gradients, like m.
        steps: how many steps went into both, shape [].
        betas: what is kept of m and of v.
    """
    kept, kept_square = betas
    bias, bias_square = correction(kept, steps + 1), correction(kept_square, steps + 1)
    return Averages(
        kept * mean / bias, (1.0 - kept) / bias, kept_square * square / bias_square, (1.0 - kept_square) / bias_square
    )


def correction(beta: float, steps: Tensor) -> Tensor:
    """`1 - beta^steps`, without the cancellation that this has in float32 for a beta close to 1."""
    return -torch.expm1(steps * (math.log(beta) if beta else -math.inf))


def push(total: Tensor, after: Averages, *, lr: float, epsilon: float) -> Tensor:
    """What is taken away from the parameter: `lr a / (r + epsilon)`, a the mean and r the root of the square.

    Args:
        total: G, the gradient, with coupled weight decay in it.
        after: the averages of this step.
        lr: learning rate.
        epsilon: outside the root.
    """
    root = (after.square + after.square_gain * total.square()).sqrt()
    return lr * (after.mean + after.mean_gain * total) / (root + epsilon)


def push_slope(total: Tensor, after: Averages, *, lr: float, epsilon: float) -> Tensor:
    """The derivative of `push` with respect to G, elementwise. Arguments as of `push`.

    With `a = p + k G` and `r^2 = s + l G^2` it is `lr (k epsilon + (k s - p l G) / r) / (r + epsilon)^2`: the quotient
    rule without its cancellation, which leaves nothing right of a first step's `lr epsilon / (|G| + epsilon)^2`. Where
    r is 0, so are s and G, and the fraction.
    """
    root = (after.square + after.square_gain * total.square()).sqrt()
    bend = after.mean_gain * after.square - after.mean * after.square_gain * total
    return lr * (after.mean_gain * epsilon + torch.where(root > 0, bend / root, 0.0)) / (root + epsilon).square()


@final
class AdamLookahead(Lookahead):
    """`f(g) = -push(g + lambda theta)`, or `-lr lambda theta - push(g)` where weight decay is decoupled.

    `foreach`, `fused` and `capturable` compute the same step in other ways. `amsgrad` and `maximize` make another.
    """

    class Config(ComponentConfig):
        """No settings: they are the optimizer's."""

        name: Literal["adam"] = "adam"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def accepts(self, optimizer: torch.optim.Optimizer) -> bool:
        return type(optimizer) in (torch.optim.Adam, torch.optim.AdamW) and not any(
            group["amsgrad"] or group["maximize"] for group in optimizer.param_groups
        )

    def displacement(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return for_each(_displacement, optimizer, gradient)

    def label_part(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return for_each(_label_part, optimizer, gradient)

    def pullback(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Map:
        return mapped(_pullback, optimizer, gradient)


def _displacement(slot: Slot, gradient: Tensor) -> Tensor:
    beside = slot.group["lr"] * slot.decay if slot.group["decoupled_weight_decay"] else 0.0
    return -push(_total(slot, gradient), _after(slot), **_settings(slot)) - beside


def _label_part(slot: Slot, gradient: Tensor) -> Tensor:
    after, settings = _after(slot), _settings(slot)
    still = _total(slot, torch.zeros_like(gradient))
    return push(still, after, **settings) - push(_total(slot, gradient), after, **settings)


def _pullback(slot: Slot, gradient: Tensor) -> Callable[[Tensor], Tensor]:
    slope = -push_slope(_total(slot, gradient), _after(slot), **_settings(slot))
    return lambda vector: slope * vector


def _total(slot: Slot, gradient: Tensor) -> Tensor:
    return gradient if slot.group["decoupled_weight_decay"] else gradient + slot.decay


def _after(slot: Slot) -> Averages:
    zeros = torch.zeros_like(slot.parameter)
    mean, square = slot.state.get("exp_avg", zeros), slot.state.get("exp_avg_sq", zeros)
    dtype = torch.promote_types(slot.parameter.dtype, torch.float32)
    steps = torch.as_tensor(slot.state.get("step", 0.0)).to(dtype)
    return averages(mean, square, steps, betas=slot.group["betas"])


def _settings(slot: Slot) -> dict[str, Any]:
    return {"lr": slot.group["lr"], "epsilon": slot.group["eps"]}


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
