"""Momentum, as `torch.optim.SGD` and `timm.optim.Lars` define it."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from mplframe.lookahead.state import Slot


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
