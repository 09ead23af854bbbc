"""Optimizers that nobody has written a formula for."""

import pytest
import torch
from lookahead_walks import KNOWN, UNKNOWN, Walk, largest, maker

from mplframe.errors import UserError
from mplframe.optim.lookahead import MeasuredLookahead
from mplframe.training.learner import find_lookahead

unknown = pytest.mark.parametrize("name", UNKNOWN)


@pytest.mark.parametrize("name", [*KNOWN, *UNKNOWN])
def test_what_is_measured_is_what_the_optimizer_does(name: str) -> None:
    walk = Walk(maker(name))
    for step in range(20):
        walk.set_rate(step)
        gradient = walk.gradient()
        measured = MeasuredLookahead().displacement(walk.optimizer, gradient)
        assert largest(measured, walk.apply(gradient)) < 1e-14


@unknown
@pytest.mark.parametrize("steps", [0, 3])
def test_the_label_part_of_an_unknown_optimizer(name: str, steps: int) -> None:
    """Against two twins of the optimizer, one that steps with the gradient and one that steps without."""
    walk = Walk(maker(name)).begun(steps)
    gradient = walk.gradient()
    part = find_lookahead(walk.optimizer).label_part(walk.optimizer, gradient)
    moved = Walk(maker(name)).begun(steps).apply(gradient)
    still = Walk(maker(name)).begun(steps).apply(tuple(torch.zeros_like(g) for g in gradient))
    assert largest(part, tuple(m - s for m, s in zip(moved, still, strict=True))) < 1e-14
    assert largest(part, tuple(torch.zeros_like(p) for p in part)) > 1e-4


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("steps", [0, 3])
def test_what_is_measured_equals_the_formulas(name: str, steps: int) -> None:
    walk = Walk(maker(name)).begun(steps)
    gradient = walk.gradient()
    measured, formula = (look.label_part(walk.optimizer, gradient) for look in (MeasuredLookahead(), KNOWN[name][1]()))
    assert largest(measured, formula) < 1e-13


def test_maximising_turns_the_label_part_round() -> None:
    walk = Walk(UNKNOWN["maximize"])
    gradient = walk.gradient()
    up = find_lookahead(walk.optimizer).label_part(walk.optimizer, gradient)
    rates = (0.1, 0.1, 0.02)
    assert largest(up, tuple(rate * g for rate, g in zip(rates, gradient, strict=True))) < 1e-14


@unknown
def test_a_measured_displacement_has_no_derivative(name: str) -> None:
    walk = Walk(maker(name))
    gradient = walk.gradient()
    with pytest.raises(UserError, match=f"{type(walk.optimizer).__name__}, as it is set here, has no") as error:
        find_lookahead(walk.optimizer).pullback(walk.optimizer, gradient)(gradient)
    for instead in ("`dot`", "`cosine`", "adam", "adamw", "lars", "rmsprop", "sgd", "register a lookahead"):
        assert instead in str(error.value)
