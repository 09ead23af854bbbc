"""Which lookahead describes which optimizer, that looking changes nothing, and single precision."""

import copy

import pytest
import torch
from lookahead_walks import KNOWN, UNKNOWN, Walk, largest, maker
from torch import Tensor
from torch.autograd.functional import vjp

from mplframe.optim.lookahead import MeasuredLookahead
from mplframe.training.learner import KNOWN_LOOKAHEADS, find_lookahead

known = pytest.mark.parametrize("name", KNOWN)


@pytest.mark.parametrize("name", [*KNOWN, *UNKNOWN])
def test_the_lookahead_that_describes_an_optimizer_is_found(name: str) -> None:
    expected = KNOWN[name][1] if name in KNOWN else MeasuredLookahead
    optimizer = Walk(maker(name)).optimizer
    assert type(find_lookahead(optimizer)) is expected
    assert type(find_lookahead(optimizer, [cls() for cls in reversed(KNOWN_LOOKAHEADS)])) is expected


@pytest.mark.parametrize("name", KNOWN)
def test_a_subclass_may_step_otherwise_and_is_measured(name: str) -> None:
    optimizer = Walk(maker(name)).optimizer
    optimizer.__class__ = type("Eager", (type(optimizer),), {})
    assert type(find_lookahead(optimizer)) is MeasuredLookahead


def test_one_nesterov_group_among_others_is_measured() -> None:
    parameters = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [{"params": parameters[:1], "nesterov": True}, {"params": parameters[1:]}]
    assert type(find_lookahead(torch.optim.SGD(groups, lr=0.1, momentum=0.9))) is MeasuredLookahead


def test_one_group_out_of_line_is_enough() -> None:
    parameters = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [{"params": parameters[:1]}, {"params": parameters[1:], "amsgrad": True}]
    assert type(find_lookahead(torch.optim.Adam(groups, lr=0.1))) is MeasuredLookahead


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
    walk = Walk(maker(name)).begun(steps)
    for p in walk.parameters:
        p.grad = torch.ones_like(p)
    gradient, vector, before = walk.gradient(), walk.gradient(), frozen(walk)
    given = copy.deepcopy((gradient, vector))
    lookahead = find_lookahead(walk.optimizer)
    lookahead.displacement(walk.optimizer, gradient)
    lookahead.label_part(walk.optimizer, gradient)
    if name in KNOWN:
        lookahead.pullback(walk.optimizer, gradient)(vector)
    assert same(frozen(walk), before)
    assert same((gradient, vector), given)
    assert all(p.grad is not None and bool((p.grad == 1).all()) for p in walk.parameters)


@known
def test_nothing_that_is_returned_is_part_of_a_graph(name: str) -> None:
    walk = Walk(maker(name)).begun(1)
    lookahead, gradient = KNOWN[name][1](), walk.gradient()
    answers = (
        lookahead.displacement(walk.optimizer, gradient),
        lookahead.label_part(walk.optimizer, gradient),
        lookahead.pullback(walk.optimizer, gradient)(gradient),
    )
    assert not any(tensor.requires_grad for answer in answers for tensor in answer)


@known
@pytest.mark.parametrize("steps", [0, 2])
def test_nothing_is_read_from_the_device(name: str, steps: int) -> None:
    """Tensors of the meta device have no values to read."""
    parameters = [torch.nn.Parameter(torch.empty(shape, device="meta")) for shape in ((3, 4), (4,))]
    optimizer = maker(name)([{"params": parameters[:1], "weight_decay": 0.1}, {"params": parameters[1:]}])
    for _ in range(steps):
        for p in parameters:
            p.grad = torch.empty_like(p)
        optimizer.step()
    lookahead, gradient = KNOWN[name][1](), tuple(torch.empty_like(p) for p in parameters)
    lookahead.displacement(optimizer, gradient)
    lookahead.label_part(optimizer, gradient)
    assert all(u.is_meta for u in lookahead.pullback(optimizer, gradient)(gradient))


@known
def test_single_precision(name: str) -> None:
    """A walk in float32, its state included, against what its optimizer does."""
    walk, lookahead = Walk(maker(name), torch.float32), KNOWN[name][1]()
    for step in range(20):
        walk.set_rate(step)
        gradient = walk.gradient()
        foreseen = lookahead.displacement(walk.optimizer, gradient)
        moved = walk.apply(gradient)
        assert largest(moved, tuple(torch.zeros_like(m) for m in moved)) > 1e-3
        assert largest(foreseen, moved) < 1e-6
        assert all(f.dtype == torch.float32 for f in foreseen)


@known
@pytest.mark.parametrize("steps", [0, 3])
def test_the_pullback_is_the_derivative_of_the_displacement(name: str, steps: int) -> None:
    walk, lookahead = Walk(maker(name)).begun(steps), KNOWN[name][1]()
    gradient, vector = walk.gradient(), walk.gradient()
    _, expected = vjp(lambda *g: lookahead.displacement(walk.optimizer, g), gradient, vector)
    assert largest(lookahead.pullback(walk.optimizer, gradient)(vector), expected) < 1e-13


@known
@pytest.mark.parametrize("method", ["displacement", "label_part", "pullback"])
def test_a_gradient_that_does_not_fit_is_refused(name: str, method: str) -> None:
    walk = Walk(maker(name))
    gradients = walk.gradient()[:2]
    with pytest.raises(ValueError, match="shorter"):
        getattr(KNOWN[name][1](), method)(walk.optimizer, gradients)
