"""The contract of lookaheads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from mplframe.contracts.batch import Tensors
from mplframe.contracts.lookahead import Lookahead, Map
from mplframe.errors import UserError
from mplframe.testing.component import copied, made, same

STEPS = 20
EXACT = 1e-6
STEP = 1e-6
SLOPE = 1e-5

MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def check_lookahead(
    make: Callable[[], Lookahead], make_optimizer: MakeOptimizer, *, derivative: Literal["given", "refused"] = "given"
) -> None:
    """Hold a lookahead against an optimizer that it says it describes, in float64 over twenty steps.

    Before each step, with a learning rate that changes: `displacement` is what `step()` is about to add, to 1e-6 of
    its size; `label_part` is `f(g) - f(0)`; `pullback` is `J_f(g)^T u`, against central differences of `displacement`;
    neither parameters nor the optimizer's state are touched.

    Args:
        make: makes the lookahead.
        make_optimizer: makes the optimizer over these parameters, all in one group or in several.
        derivative: `refused` for a lookahead whose `pullback` raises a UserError.

    Raises:
        AssertionError: names the broken promise.
    """
    lookahead = made(make, Lookahead)
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(_drawn(generator, *shape)) for shape in ((4, 3), (4,), (2, 4))]
    optimizer = make_optimizer(parameters)
    assert lookahead.accepts(optimizer), f"the lookahead doesn't accept {type(optimizer).__name__} as it is set here"
    peaks = [group["lr"] for group in optimizer.param_groups]
    for step in range(STEPS):
        pull: Map = tuple  # where there is no derivative there is nothing to compare
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * (1.0 - 0.5 * step / STEPS)
        ordered = [p for group in optimizer.param_groups for p in group["params"]]
        gradient, vector, direction = (tuple(_drawn(generator, *p.shape) for p in ordered) for _ in range(3))
        before = _state(optimizer)
        expected = lookahead.displacement(optimizer, gradient)
        _check_label_part(lookahead, optimizer, gradient, f"step {step}")
        if derivative == "given":
            pull = _check_pullback(lookahead, optimizer, gradient, vector, direction, f"step {step}")
        else:
            _check_refusal(lookahead, optimizer, gradient)
        differs = same(before, _state(optimizer))
        assert not differs, f"step {step}: looking ahead changed {differs} of the optimizer"
        pulled = pull(vector)
        _check_displacement(optimizer, ordered, gradient, expected, f"step {step}")
        for group in optimizer.param_groups:
            group["lr"] = 0.5 * group["lr"]
        assert not same(pulled, pull(vector)), f"step {step}: what pullback gives isn't the same after the step"


def _drawn(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _state(optimizer: torch.optim.Optimizer) -> object:
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    return copied({"parameters": weights, "state": optimizer.state_dict()})


def _check_displacement(
    optimizer: torch.optim.Optimizer, ordered: list[nn.Parameter], gradient: Tensors, expected: Tensors, where: str
) -> None:
    start = [p.detach().clone() for p in ordered]
    for parameter, g in zip(ordered, gradient, strict=True):
        parameter.grad = g.clone()
    optimizer.step()
    moved = tuple(p.detach() - at for p, at in zip(ordered, start, strict=True))
    _close(expected, moved, EXACT, f"{where}: displacement isn't what step() adds")


def _check_label_part(lookahead: Lookahead, optimizer: torch.optim.Optimizer, gradient: Tensors, where: str) -> None:
    moved = lookahead.displacement(optimizer, gradient)
    still = lookahead.displacement(optimizer, tuple(torch.zeros_like(g) for g in gradient))
    expected = tuple(a - b for a, b in zip(moved, still, strict=True))
    _close(lookahead.label_part(optimizer, gradient), expected, EXACT, f"{where}: label_part isn't f(g) - f(0)")


def _check_pullback(
    lookahead: Lookahead,
    optimizer: torch.optim.Optimizer,
    gradient: Tensors,
    vector: Tensors,
    direction: Tensors,
    where: str,
) -> Map:
    pull = lookahead.pullback(optimizer, gradient)
    pulled = pull(vector)
    ahead, behind = (
        lookahead.displacement(optimizer, tuple(g + sign * STEP * d for g, d in zip(gradient, direction, strict=True)))
        for sign in (1.0, -1.0)
    )
    slope = tuple((a - b) / (2.0 * STEP) for a, b in zip(ahead, behind, strict=True))
    expected, found = _inner(vector, slope), _inner(pulled, direction)
    scale = (_inner(vector, vector) * _inner(slope, slope)).sqrt()
    assert abs(float(found - expected)) <= SLOPE * float(scale), (
        f"{where}: pullback isn't J^T u: <J^T u, d> is {float(found):.9g}, and <u, J d> is {float(expected):.9g} by "
        "central differences of displacement"
    )
    return pull


def _check_refusal(lookahead: Lookahead, optimizer: torch.optim.Optimizer, gradient: Tensors) -> None:
    try:
        lookahead.pullback(optimizer, gradient)
    except UserError:
        return
    raise AssertionError('pullback gives a result; check it with derivative="given"')


def _inner(a: Tensors, b: Tensors) -> Tensor:
    return torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()


def _close(found: Tensors, expected: Tensors, tolerance: float, promise: str) -> None:
    assert len(found) == len(expected), f"{promise}: {len(found)} tensors for {len(expected)} parameters"
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert a.shape == b.shape, f"{promise}: parameter {i} is {list(b.shape)}, this is {list(a.shape)}"
        error, scale = float((a - b).abs().max()), float(b.abs().max())
        assert error <= tolerance * scale + 1e-15, f"{promise}: parameter {i} is off by {error:.3g} of {scale:.3g}"
