"""LARS: the optimizer, and the formula of its step (the lookahead)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, final

import torch
from pydantic import Field, PositiveFloat
from timm.optim.lars import Lars
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors
from mplframe.contracts.optimizer import Lookahead, Map, OptimizerConfig, OptimizerFactory
from mplframe.optim.lookahead import Slot, for_each, mapped
from mplframe.optim.sgd import pull_with, share_with, step_with


class Trust(NamedTuple):
    """The trust ratio T of one tensor and its derivative `dT/dg = slope g`; both of shape []."""

    ratio: Tensor
    slope: Tensor


def trust(parameter: Tensor, gradient: Tensor, *, coefficient: float, weight_decay: float, epsilon: float) -> Trust:
    """`T = c |theta| / D` with `D = |g| + lambda |theta| + epsilon`, so `dT/dg = -T g / (|g| D)`.

    Where theta or g is 0, T is 1 and its derivative 0: there the step jumps, as timm's does.

    Args:
        parameter: theta.
        gradient: g, like theta, without weight decay.
        coefficient: c.
        weight_decay: lambda.
        epsilon: added to the denominator.
    """
    size, length = torch.linalg.vector_norm(parameter), torch.linalg.vector_norm(gradient)
    denominator = length + weight_decay * size + epsilon
    ratio = coefficient * size / denominator
    usable = (size > 0) & (length > 0)
    return Trust(torch.where(usable, ratio, 1.0), torch.where(usable, -ratio / denominator / length, 0.0))


def clipped(given: Trust, lr: float) -> Trust:
    """LARC: `min(T / lr, 1)`, so that the tensor's rate is the smaller of T and lr."""
    ratio = given.ratio / lr
    return Trust(ratio.clamp(max=1.0), torch.where(ratio < 1.0, given.slope / lr, 0.0))


@final
class LARSLookahead(Lookahead):
    """SGD with momentum on `u = T(g) (g + lambda theta)`, T the trust ratio.

    The derivative of the ratio makes the Jacobian of u the full matrix `T I + (g + lambda theta) (dT/dg)^T` for each
    tensor; its transpose takes y to `T y + slope <g + lambda theta, y> g`. Groups that don't adapt have `u = g`.

    timm takes T = 1 for a gradient of exactly 0, so that f(0) decays the weights 1/T times as fast as f(g): with weight
    decay, `f(g) - f(0)` contains the difference.
    """

    class Config(ComponentConfig):
        """No settings: they are the optimizer's."""

        name: Literal["lars"] = "lars"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def accepts(self, optimizer: torch.optim.Optimizer) -> bool:
        return type(optimizer) is Lars

    def displacement(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return for_each(_displacement, optimizer, gradient)

    def label_part(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return for_each(_label_part, optimizer, gradient)

    def pullback(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Map:
        return mapped(_pullback, optimizer, gradient)


def _displacement(slot: Slot, gradient: Tensor) -> Tensor:
    return step_with(slot, _update(slot, gradient))


def _label_part(slot: Slot, gradient: Tensor) -> Tensor:
    return share_with(slot, _update(slot, gradient) - _update(slot, torch.zeros_like(gradient)))


def _pullback(slot: Slot, gradient: Tensor) -> Callable[[Tensor], Tensor]:
    through = pull_with(slot, gradient)
    if not _adapts(slot):
        return through
    (ratio, slope), total = _trust(slot, gradient), gradient + slot.decay
    return lambda vector: through(ratio * vector + slope * (total * vector).sum() * gradient)


def _update(slot: Slot, gradient: Tensor) -> Tensor:
    if not _adapts(slot):
        return gradient
    return _trust(slot, gradient).ratio * (gradient + slot.decay)


def _adapts(slot: Slot) -> bool:
    return bool(slot.group["weight_decay"] or slot.group["always_adapt"])


def _trust(slot: Slot, gradient: Tensor) -> Trust:
    group = slot.group
    settings = {"coefficient": group["trust_coeff"], "weight_decay": group["weight_decay"], "epsilon": group["eps"]}
    given = trust(slot.parameter, gradient, **settings)
    return clipped(given, group["lr"]) if group["trust_clip"] else given


@final
class LARS(OptimizerFactory):
    """`timm.optim.Lars` (You et al., "Large Batch Training of Convolutional Networks", 2017). For each tensor, with
    gradient g, weight decay w, trust coefficient c, momentum m and learning rate lr, a step is

    `r = c |theta| / (|g| + w |theta| + 1e-8);  u = r (g + w theta);  b = m b + u  (b = u at first);  theta -= lr b`,

    with r = 1 where theta or g is 0. Norms and biases take r = 1 and no decay, which is plain momentum; with
    `decay_all` they are treated like weights. Weights are adapted whether or not they decay.

    MPL v4, C.4 finetunes with momentum 0.9 and a learning rate of 0.001 for 20,000 steps of 4,096 images and calls
    these LARS's default parameters. It doesn't mention c; 0.001 is the default of You et al.
    """

    class Config(OptimizerConfig):
        """Settings of LARS.

        Attributes:
            lr: peak learning rate, for one step; it multiplies the adapted rates.
            momentum: what is kept of the velocity from step to step.
            trust: c, the size of a step relative to the weights at lr = 1.
            weight_decay: L2 penalty of the parameters that decay, added to the gradient.
            decay_all: norms and biases decay and adapt too.
        """

        name: Literal["lars"] = "lars"
        lr: PositiveFloat = 0.001
        momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
        trust: PositiveFloat = 0.001

    config: Config

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimizer over parameter groups that already carry their `weight_decay`."""
        config = self.config
        # timm adapts a group without decay only on request, which would leave undecayed weights to plain SGD.
        adapted = [{**group, "always_adapt": any(p.ndim > 1 for p in group["params"])} for group in groups]
        optimizer: torch.optim.Optimizer = Lars(
            adapted, lr=config.lr, momentum=config.momentum, trust_coeff=config.trust
        )
        return optimizer
