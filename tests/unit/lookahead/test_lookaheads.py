"""Displacements against the optimizers themselves; derivatives against autograd."""

import copy
from collections.abc import Callable

import pytest
import torch
from timm.optim import RMSpropTF
from timm.optim.lars import Lars
from torch import Tensor
from torch.autograd.functional import vjp

from mplframe.contracts.batch import Tensors
from mplframe.contracts.lookahead import Lookahead
from mplframe.errors import UserError
from mplframe.learners.learner import find_lookahead
from mplframe.lookahead.measured import Measured
from mplframe.lookahead.nesterov import Nesterov
from mplframe.lookahead.rmsprop import RMSProp
from mplframe.lookahead.sgd import SGD

Make = Callable[[list[dict[str, object]]], torch.optim.Optimizer]

KNOWN: dict[str, tuple[Make, type[Lookahead]]] = {
    "sgd": (lambda p: torch.optim.SGD(p, lr=0.1), SGD),
    "momentum": (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), SGD),
    "nesterov": (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8, nesterov=True), Nesterov),
    "rmsprop": (lambda p: RMSpropTF(p, lr=0.1, alpha=0.9, momentum=0.9, eps=1e-3), RMSProp),
    "rmsprop without momentum": (lambda p: RMSpropTF(p, lr=0.1, alpha=0.5, eps=1e-3), RMSProp),
}
UNKNOWN: dict[str, Make] = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "lars": lambda p: Lars(p, lr=0.1, momentum=0.9),
    "dampening": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5),
    "maximize": lambda p: torch.optim.SGD(p, lr=0.1, maximize=True),
    "torch's rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1),
    "centered": lambda p: RMSpropTF(p, lr=0.1, centered=True),
    "decoupled decay": lambda p: RMSpropTF(p, lr=0.1, decoupled_decay=True),
    "lr outside the momentum": lambda p: RMSpropTF(p, lr=0.1, momentum=0.9, lr_in_momentum=False),
    "caution": lambda p: RMSpropTF(p, lr=0.1, momentum=0.9, caution=True),
}
known = pytest.mark.parametrize("name", KNOWN)
DTYPES = {torch.float64: 1e-12, torch.float32: 1e-6}


class Walk:
    """An optimizer over two groups, driven by random gradients and a changing learning rate."""

    def __init__(self, make: Make, dtype: torch.dtype = torch.float64) -> None:
        self.random = torch.Generator().manual_seed(1)
        self.dtype = dtype
        self.parameters = [torch.nn.Parameter(self.draw(shape)) for shape in ((3, 4), (2, 2), (4,))]
        first, second, third = self.parameters
        groups = [{"params": [first, second], "weight_decay": 0.05}, {"params": [third], "weight_decay": 0.0, "lr": 0.02}]
        self.optimizer = make(groups)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self.random, dtype=torch.float64).to(self.dtype)

    def gradient(self) -> Tensors:
        return tuple(self.draw(tuple(p.shape)) for p in self.parameters)

    def set_rate(self, step: int) -> None:
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * (1.0 + 0.1 * step)

    def apply(self, gradient: Tensors) -> Tensors:
        """Really step; how far the parameters went."""
        before = [p.detach().clone() for p in self.parameters]
        for p, g in zip(self.parameters, gradient, strict=True):
            p.grad = g.clone()
        self.optimizer.step()
        return tuple(p.detach() - b for p, b in zip(self.parameters, before, strict=True))

    def begun(self, steps: int) -> "Walk":
        for step in range(steps):
            self.set_rate(step)
            self.apply(self.gradient())
        return self


def largest(a: Tensors, b: Tensors) -> float:
    return max(float((x - y).abs().max()) for x, y in zip(a, b, strict=True))


@known
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_displacement_is_what_the_optimizer_does(name: str, dtype: torch.dtype) -> None:
    make, cls = KNOWN[name]
    walk, lookahead = Walk(make, dtype), cls()
    for step in range(20):
        walk.set_rate(step)
        gradient = walk.gradient()
        foreseen = lookahead.displacement(walk.optimizer, gradient)
        moved = walk.apply(gradient)
        assert largest(moved, tuple(torch.zeros_like(m) for m in moved)) > 1e-3
        assert largest(foreseen, moved) < DTYPES[dtype]


@known
@pytest.mark.parametrize("steps", [0, 3])
def test_the_label_part_is_what_the_gradient_adds(name: str, steps: int) -> None:
    make, cls = KNOWN[name]
    walk, lookahead = Walk(make).begun(steps), cls()
    gradient = walk.gradient()
    moved = lookahead.displacement(walk.optimizer, gradient)
    still = lookahead.displacement(walk.optimizer, tuple(torch.zeros_like(g) for g in gradient))
    part = lookahead.label_part(walk.optimizer, gradient)
    assert largest(part, tuple(m - s for m, s in zip(moved, still, strict=True))) < 1e-14
    if steps:
        # Otherwise the test couldn't tell the label part from the whole.
        assert largest(part, moved) > 1e-3


@known
@pytest.mark.parametrize("steps", [0, 3])
def test_the_pullback_is_the_derivative_of_the_displacement(name: str, steps: int) -> None:
    make, cls = KNOWN[name]
    walk, lookahead = Walk(make).begun(steps), cls()
    gradient, vector = walk.gradient(), walk.gradient()
    _, expected = vjp(lambda *g: lookahead.displacement(walk.optimizer, g), gradient, vector)
    assert largest(lookahead.pullback(walk.optimizer, gradient, vector), expected) < 1e-14


def frozen(walk: Walk) -> object:
    """Everything about an optimizer that could change."""
    return copy.deepcopy((walk.optimizer.state_dict(), [p.detach() for p in walk.parameters]))


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("name", [*KNOWN, *UNKNOWN])
@pytest.mark.parametrize("steps", [0, 2])
def test_looking_ahead_changes_nothing(name: str, steps: int) -> None:
    make = UNKNOWN.get(name) or KNOWN[name][0]
    walk = Walk(make).begun(steps)
    for p in walk.parameters:
        p.grad = torch.ones_like(p)
    gradient, before = walk.gradient(), frozen(walk)
    given = copy.deepcopy(gradient)
    lookahead = find_lookahead(walk.optimizer)
    lookahead.displacement(walk.optimizer, gradient)
    lookahead.label_part(walk.optimizer, gradient)
    assert same(frozen(walk), before)
    assert same(gradient, given)
    assert all(p.grad is not None and bool((p.grad == 1).all()) for p in walk.parameters)


@pytest.mark.parametrize("name", [*KNOWN, *UNKNOWN])
def test_what_is_measured_is_what_the_optimizer_does(name: str) -> None:
    walk = Walk(UNKNOWN.get(name) or KNOWN[name][0])
    for step in range(5):
        walk.set_rate(step)
        gradient = walk.gradient()
        measured = Measured().displacement(walk.optimizer, gradient)
        assert largest(measured, walk.apply(gradient)) < 1e-14


@known
def test_what_is_measured_equals_the_formulas(name: str) -> None:
    make, cls = KNOWN[name]
    walk = Walk(make).begun(3)
    gradient = walk.gradient()
    measured, formula = (lookahead.label_part(walk.optimizer, gradient) for lookahead in (Measured(), cls()))
    assert largest(measured, formula) < 1e-14


def test_maximising_turns_the_label_part_round() -> None:
    walk = Walk(UNKNOWN["maximize"])
    gradient = walk.gradient()
    up = find_lookahead(walk.optimizer).label_part(walk.optimizer, gradient)
    rates = (0.1, 0.1, 0.02)
    assert largest(up, tuple(rate * g for rate, g in zip(rates, gradient, strict=True))) < 1e-14


@pytest.mark.parametrize("name", [*KNOWN, *UNKNOWN])
def test_the_lookahead_that_describes_an_optimizer_is_found(name: str) -> None:
    expected = KNOWN[name][1] if name in KNOWN else Measured
    optimizer = Walk(UNKNOWN.get(name) or KNOWN[name][0]).optimizer
    assert type(find_lookahead(optimizer)) is expected
    assert type(find_lookahead(optimizer, [RMSProp(), SGD(), Nesterov()])) is expected


def test_a_subclass_may_step_otherwise_and_is_measured() -> None:
    class Eager(torch.optim.SGD):
        pass

    assert type(find_lookahead(Eager([torch.nn.Parameter(torch.ones(1))], lr=0.1))) is Measured


def test_one_nesterov_group_among_others_is_measured() -> None:
    parameters = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [{"params": parameters[:1], "nesterov": True}, {"params": parameters[1:]}]
    assert type(find_lookahead(torch.optim.SGD(groups, lr=0.1, momentum=0.9))) is Measured


def test_a_measured_displacement_has_no_derivative() -> None:
    walk = Walk(UNKNOWN["adamw"])
    gradient = walk.gradient()
    with pytest.raises(UserError, match="AdamW has no lookahead with a derivative"):
        Measured().pullback(walk.optimizer, gradient, gradient)


@known
def test_a_gradient_that_does_not_fit_is_refused(name: str) -> None:
    make, cls = KNOWN[name]
    walk = Walk(make)
    with pytest.raises(ValueError, match="shorter"):
        cls().displacement(walk.optimizer, walk.gradient()[:2])
