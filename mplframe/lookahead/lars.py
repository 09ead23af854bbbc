"""LARS, as `timm.optim.Lars` defines it: the length of each tensor's gradient sets its learning rate."""

from collections.abc import Callable
from typing import Literal, NamedTuple, final

import torch
from timm.optim.lars import Lars
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors
from mplframe.contracts.lookahead import Lookahead, Map
from mplframe.lookahead.momentum import pull_with, share_with, step_with
from mplframe.lookahead.state import Slot, for_each, mapped


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
class LARS(Lookahead):
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
