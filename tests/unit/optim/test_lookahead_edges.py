"""Where formulas divide by zero, cancel, or jump; and the other ways in which torch computes the same step."""

from typing import Any

import pytest
import torch
from lookahead_cases import KINDS, SETTINGS, Case, Settings, typical, walk
from lookahead_errors import central, displacement_error, inner, largest, pullback_error, relative
from timm.optim.lars import Lars
from torch import Tensor, nn

from mplframe.optim.adam import AdamLookahead, correction
from mplframe.optim.lars import LARSLookahead
from mplframe.optim.lookahead import MeasuredLookahead

DOUBLE = torch.float64
W = torch.tensor([1.0, -2.0, 0.5], dtype=DOUBLE)


def adam(parameter: Tensor, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam([nn.Parameter(parameter)], **{"lr": 0.1, **settings})


def lars(parameter: Tensor, **settings: Any) -> torch.optim.Optimizer:
    defaults = {"lr": 0.5, "trust_coeff": 0.1, "momentum": 0.9, "weight_decay": 0.2}
    return Lars([nn.Parameter(parameter)], **{**defaults, **settings})


@pytest.mark.parametrize("eps", [1e-8, 1e-3, 0.1])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_adams_first_slope_does_not_cancel(eps: float, dtype: torch.dtype) -> None:
    """The first step is `-lr g / (|g| + eps)`, whose slope is `-lr eps / (|g| + eps)^2`: 1e-8 of the terms it is
    the difference of.
    """
    g = torch.tensor([-2.0, -0.1, 1e-3, 3.0], dtype=DOUBLE)
    (found,) = AdamLookahead().pullback(adam(torch.ones(4, dtype=dtype), eps=eps), (g.to(dtype),))(
        (torch.ones(4, dtype=dtype),)
    )
    slope = -0.1 * eps / (g.abs() + eps) ** 2
    assert float((found / slope - 1).abs().max()) < 64 * torch.finfo(dtype).eps


def test_adams_first_slope_at_zero_is_that_of_its_step() -> None:
    (found,) = AdamLookahead().pullback(adam(torch.ones(3, dtype=DOUBLE), eps=1e-2), (torch.zeros(3, dtype=DOUBLE),))(
        (W,)
    )
    step = [
        MeasuredLookahead().displacement(adam(torch.ones(3, dtype=DOUBLE), eps=1e-2), (s * W,))[0]
        for s in (1e-9, -1e-9)
    ]
    assert relative((found,), ((step[0] - step[1]) / 2e-9,)) < 1e-6


def test_adams_slope_is_finite_where_squares_underflow() -> None:
    optimizer = adam(torch.ones(3, dtype=torch.float32))
    g = torch.tensor([1e-30, 0.0, -1e-25])
    (found,) = AdamLookahead().pullback(optimizer, (g,))((torch.ones(3),))
    torch.testing.assert_close(found, torch.full((3,), -0.1 / 1e-8))


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 0.99999])
@pytest.mark.parametrize("steps", [1.0, 7.0, 1e5])
def test_the_bias_correction_is_right_in_float32(beta: float, steps: float) -> None:
    assert float(correction(beta, torch.tensor(steps))) == pytest.approx(1 - beta**steps, rel=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("settings", [{"always_adapt": True}, {"always_adapt": True, "trust_clip": True, "lr": 0.05}])
def test_lars_takes_weights_of_zero_as_plain_momentum(settings: Settings, decay: float) -> None:
    optimizer = lars(torch.zeros(3, dtype=DOUBLE), weight_decay=decay, **settings)
    (found,) = LARSLookahead().pullback(optimizer, (W,))((W.flip(0),))
    assert relative((found,), (-optimizer.param_groups[0]["lr"] * W.flip(0),)) < 1e-15
    assert (
        relative(LARSLookahead().displacement(optimizer, (W,)), MeasuredLookahead().displacement(optimizer, (W,)))
        < 1e-15
    )


def test_lars_jumps_at_a_gradient_of_zero_as_timm_does() -> None:
    optimizer = lars(W.clone())
    nothing = torch.zeros_like(W)
    still = LARSLookahead().displacement(optimizer, (nothing,))
    assert relative(still, MeasuredLookahead().displacement(optimizer, (nothing,))) < 1e-14
    assert relative(still, (-0.5 * 0.2 * W,)) < 1e-14
    (nearly,) = LARSLookahead().displacement(optimizer, (1e-12 * W,))
    assert largest(nearly - still[0]) > 0.1 * largest(still[0])
    assert all(bool(t.isfinite().all()) for t in LARSLookahead().pullback(optimizer, (nothing,))((W,)))


@pytest.mark.parametrize("lr", [0.01, 5.0])
def test_lars_clips_the_ratio_and_its_derivative(lr: float) -> None:
    """At the smaller rate the ratio is cut off at 1 and the update is `g + w theta`; at the larger it isn't."""
    optimizer = lars(W.clone(), trust_clip=True, lr=lr)
    (found,) = LARSLookahead().pullback(optimizer, (W.flip(0),))((W,))
    cut = relative((found,), (-lr * W,)) < 1e-14
    assert cut == (lr == 0.01)
    clipped = {"trust_clip": True, "trust_coeff": 0.3}
    walked = Case(KINDS["lars"], (({**SETTINGS["lars"], **clipped, "lr": lr, "weight_decay": 0.2}, ((3,),)),), seed=1)
    assert pullback_error(walked) < 1e-10


def test_lars_lets_a_step_shrink_when_its_gradient_grows() -> None:
    """Along the gradient of an undecayed tensor the ratio cancels the length: only epsilon is left."""
    optimizer = lars(W.clone(), weight_decay=0.0, always_adapt=True)
    g = W.flip(0)
    (found,) = LARSLookahead().pullback(optimizer, (g,))((g,))
    (moved,) = LARSLookahead().displacement(optimizer, (g,))
    assert largest(found) < 1e-7 * largest(moved)


WAYS = [(name, "foreach") for name in SETTINGS] + [(name, "fused") for name in ("sgd", "nesterov", "adam", "adamw")]


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_other_ways_of_computing_the_step_make_the_same(name: str, way: str) -> None:
    given = typical(name)
    ((settings, shapes),) = given.groups
    assert displacement_error(Case(given.kind, (({**settings, way: True}, shapes),), given.seed)) < 1e-12


def test_groups_keep_settings_of_their_own() -> None:
    """Two groups that differ in everything: each is held against its own formula."""
    first, second = SETTINGS["adam"], {"betas": (0.5, 0.5), "eps": 0.1}
    groups = (
        ({"lr": 0.1, "weight_decay": 0.0, **first}, ((2, 3), ())),
        ({"lr": 0.02, "weight_decay": 0.3, **second}, ((4,),)),
    )
    assert displacement_error(Case(KINDS["adam"], groups, seed=2)) < 1e-12
    assert pullback_error(Case(KINDS["adam"], groups, seed=2)) < 1e-10


@pytest.mark.parametrize("name", SETTINGS)
def test_twenty_slopes_of_the_optimizer_itself(name: str) -> None:
    """The whole walk of one case, where the drawn ones take three steps."""
    for moment in walk(typical(name)):
        vector, direction = moment.draw(), moment.draw()
        found = inner(moment.lookahead.pullback(moment.optimizer, moment.gradient)(vector), direction)
        slope = central(moment, direction, 1e-5)
        assert float(found) == pytest.approx(float(inner(vector, slope)), rel=1e-5, abs=1e-8)
