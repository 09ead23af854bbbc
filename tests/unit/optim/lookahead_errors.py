"""How far a lookahead is from the truth over a whole walk, as one number for each promise."""

import torch
from lookahead_cases import Case, Moment, walk
from torch import Tensor

from mplframe.contracts.batch import Tensors
from mplframe.optim.lookahead import MeasuredLookahead

ROUNDING = 4 * torch.finfo(torch.float64).eps
"""Of a difference of parameters, relative to the parameters."""


def displacement_error(case: Case) -> float:
    """Against the optimizer's own step, beyond what rounding the parameters explains; relative to the step."""
    worst = 0.0
    for moment in walk(case):
        foreseen = moment.lookahead.displacement(moment.optimizer, moment.gradient)
        sizes = [float(p.detach().abs().max()) for p in moment.parameters]
        for found, true, size in zip(foreseen, moment.go(), sizes, strict=True):
            beyond = largest(found - true) - ROUNDING * (size + largest(true))
            worst = max(worst, beyond / max(largest(true), 1e-300))
    return worst


def formula_error(case: Case) -> float:
    """Displacement against the independent formula; relative."""
    return max(
        relative(m.lookahead.displacement(m.optimizer, m.gradient), m.by_formula(m.gradient)) for m in walk(case)
    )


def label_part_error(case: Case) -> float:
    """Against `f(g) - f(0)` by the independent formula; relative to the larger of the two."""
    worst = 0.0
    for moment in walk(case):
        moved, still = (moment.by_formula(g) for g in (moment.gradient, zeros_like(moment.gradient)))
        part = moment.lookahead.label_part(moment.optimizer, moment.gradient)
        for found, a, b in zip(part, moved, still, strict=True):
            worst = max(worst, largest(found - (a - b)) / max(largest(a), largest(b), 1e-300))
    return worst


def pullback_error(case: Case) -> float:
    """Against autograd's vector-Jacobian product of the independent formula; relative to it.

    Autograd itself cancels where the step hardly depends on the gradient's size, as in Adam's first; what is below
    1e-4 of `u f / g`, entry by entry, counts as that much.
    """
    worst = 0.0
    for moment in walk(case):
        vector = moment.draw()
        gradient = tuple(g.clone().requires_grad_() for g in moment.gradient)
        moved = moment.by_formula(gradient)
        expected = torch.autograd.grad(moved, gradient, vector)
        found = moment.lookahead.pullback(moment.optimizer, moment.gradient)(vector)
        for a, b, u, f, g in zip(found, expected, vector, moved, gradient, strict=True):
            floor = 1e-4 * largest(u * f.detach() / g.detach())
            worst = max(worst, largest(a - b) / max(largest(b), floor))
    return worst


def slope_error(case: Case, *, steps: int = 3, h: float = 1e-5) -> float:
    """`<J^T u, d>` against central differences of steps of copies of the optimizer itself.

    Relative to `|u| |J d|`, or to what rounding leaves of a difference of displacements where that is more.
    """
    worst = 0.0
    for moment in walk(case, steps):
        vector = moment.draw()
        # In proportion to the gradient, so that no entry is taken past the kink of a first Adam step at 0.
        direction = tuple(d * g for d, g in zip(moment.draw(), moment.gradient, strict=True))
        found = inner(moment.lookahead.pullback(moment.optimizer, moment.gradient)(vector), direction)
        slope = central(moment, direction, h)
        noise = 1e-3 * max(largest(p.detach()) for p in moment.parameters)
        scale = norm(vector) * max(norm(slope), noise)
        worst = max(worst, float((found - inner(vector, slope)).abs()) / scale)
    return worst


def central(moment: Moment, direction: Tensors, h: float) -> Tensors:
    """`J d` of the real optimizer's step, by differences of order h^4."""
    slope = zeros_like(direction)
    for distance, weight in ((h, 8.0), (2 * h, -1.0)):
        for sign in (1.0, -1.0):
            there = tuple(g + sign * distance * d for g, d in zip(moment.gradient, direction, strict=True))
            moved = MeasuredLookahead().displacement(moment.optimizer, there)
            slope = tuple(s + sign * weight * m / (12.0 * h) for s, m in zip(slope, moved, strict=True))
    return slope


def relative(found: Tensors, expected: Tensors) -> float:
    """The worst error of a tensor, relative to that tensor's largest entry."""
    return max(largest(a - b) / max(largest(b), 1e-300) for a, b in zip(found, expected, strict=True))


def largest(tensor: Tensor) -> float:
    return float(tensor.abs().max())


def zeros_like(tensors: Tensors) -> Tensors:
    return tuple(torch.zeros_like(t) for t in tensors)


def inner(a: Tensors, b: Tensors) -> Tensor:
    return torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()


def norm(tensors: Tensors) -> float:
    return float(inner(tensors, tensors).sqrt())
