"""The proofs notice: mistakes planted in the lookaheads on purpose are far outside the tolerances."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lookahead_cases import Case, typical
from lookahead_errors import displacement_error, formula_error, label_part_error, pullback_error, slope_error
from torch import Tensor

from mplframe.optim import adam, lars, rmsprop, sgd
from mplframe.optim import sgd as momentum
from mplframe.optim.lookahead import Slot

NOTICED = 1e-3
"""Nine orders of magnitude above what the proofs allow of a displacement, seven of a pull-back."""


def root_first(total: Tensor, square: Tensor, *, lr: float, decay: float, epsilon: float) -> Tensor:
    """RMSProp with epsilon outside the root, as `torch.optim.RMSprop` has it."""
    return lr * total / ((decay * square + (1 - decay) * total**2).sqrt() + epsilon)


def frozen_square(total: Tensor, square: Tensor, *, lr: float, decay: float, epsilon: float) -> Tensor:
    """The slope of RMSProp with the gradient in the root taken as a constant."""
    return lr / (decay * square + (1 - decay) * total**2 + epsilon).sqrt()


def frozen_root(total: Tensor, after: adam.Averages, *, lr: float, epsilon: float) -> Tensor:
    """The slope of Adam with the root taken as a constant."""
    return lr * after.mean_gain / ((after.square + after.square_gain * total**2).sqrt() + epsilon)


def constant_ratio(*given: Any, **settings: Any) -> lars.Trust:
    """The trust ratio without its derivative."""
    ratio, slope = trust(*given, **settings)
    return lars.Trust(ratio, torch.zeros_like(slope))


trust = lars.trust


def decayed_norm(parameter: Tensor, gradient: Tensor, **settings: float) -> lars.Trust:
    """The trust ratio of the gradient with weight decay in it."""
    return trust(parameter, gradient + settings["weight_decay"] * parameter, **settings)


def plain(slot: Slot) -> float:
    """`-lr`: forgets (1 + mu) of Nesterov and (1 - d) of dampening."""
    return float(-slot.group["lr"])


def always_dampened(velocity: Tensor | None, *, momentum: float, dampening: float, nesterov: bool) -> float:
    """Dampening in the first step too."""
    return 1.0 - dampening


def forgetful(update: Tensor, velocity: Tensor | None, **settings: Any) -> Tensor:
    """No velocity."""
    return update


def coupled(slot: Slot, gradient: Tensor) -> Tensor:
    """AdamW's weight decay in the gradient."""
    return gradient + slot.decay


def undecayed(slot: Slot, gradient: Tensor) -> Tensor:
    """Adam's weight decay forgotten."""
    return gradient


def stale(mean: Tensor, square: Tensor, steps: Tensor, **settings: Any) -> adam.Averages:
    """Bias corrected for the step before."""
    return averages(mean, square, (steps - 1).clamp(min=0), **settings)


averages = adam.averages


def uncorrected(beta: float, steps: Tensor) -> Tensor:
    """No bias correction."""
    return torch.ones(())


WRONG: dict[str, tuple[str, Any, str, Callable[..., Any], tuple[Callable[[Case], float], ...]]] = {
    "epsilon outside the root": ("rmsprop", rmsprop, "push", root_first, (displacement_error, label_part_error)),
    "RMSProp's root a constant": ("rmsprop", rmsprop, "push_slope", frozen_square, (pullback_error, slope_error)),
    "no bias correction": ("adam", adam, "correction", uncorrected, (displacement_error, pullback_error)),
    "bias correction a step late": ("adam", adam, "averages", stale, (displacement_error, pullback_error)),
    "Adam's root a constant": ("adam", adam, "push_slope", frozen_root, (pullback_error, slope_error)),
    "Adam without its decay": ("adam", adam, "_total", undecayed, (displacement_error, pullback_error)),
    "AdamW with coupled decay": ("adamw", adam, "_total", coupled, (displacement_error, pullback_error)),
    "trust ratio a constant": ("lars", lars, "trust", constant_ratio, (pullback_error, slope_error)),
    "trust ratio of the decayed gradient": ("lars", lars, "trust", decayed_norm, (displacement_error, formula_error)),
    "Nesterov without (1 + mu)": ("nesterov", momentum, "_slope", plain, (label_part_error, pullback_error)),
    "no dampening": ("sgd", momentum, "_slope", plain, (label_part_error, pullback_error, slope_error)),
    "dampening in the first step": ("sgd", momentum, "share", always_dampened, (label_part_error, pullback_error)),
    "no velocity": ("sgd", momentum, "moved", forgetful, (displacement_error, formula_error)),
    "the whole step as label part": ("sgd", sgd, "share_with", sgd.displacement, (label_part_error,)),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_planted_mistake_is_noticed(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, module, function, wrong, errors = WRONG[mistake]
    assert all(error(typical(name)) < 1e-6 for error in errors)
    monkeypatch.setattr(module, function, wrong)
    assert {error.__name__: error(typical(name)) > NOTICED for error in errors} == {e.__name__: True for e in errors}
