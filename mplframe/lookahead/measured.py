"""The displacement of an optimizer that nobody has written a formula for: measured on copies."""

from __future__ import annotations

import copy
from typing import Literal, final

import torch

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors
from mplframe.contracts.lookahead import Lookahead, Map
from mplframe.errors import UserError


def displacement(optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
    """`f(g)` of any optimizer whose `step()` reads `.grad`: one step of a copy of it.

    Args:
        optimizer: left as it is.
        gradient: g, one tensor a parameter.
    """
    # A deep copy of an optimizer copies its parameters too, and keeps its state tied to the copies.
    shadow = copy.deepcopy(optimizer)
    parameters = [p for group in shadow.param_groups for p in group["params"]]
    before = [p.detach().clone() for p in parameters]
    for parameter, g in zip(parameters, gradient, strict=True):
        parameter.grad = g.clone()
    shadow.step()
    return tuple(p.detach() - b for p, b in zip(parameters, before, strict=True))


@final
class Measured(Lookahead):
    """For `dot` and `cosine` with any optimizer, at the cost of two more steps and copies of parameters and state."""

    class Config(ComponentConfig):
        """No settings."""

        name: Literal["measured"] = "measured"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def accepts(self, optimizer: torch.optim.Optimizer) -> bool:
        return True

    def displacement(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return displacement(optimizer, gradient)

    def label_part(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        moved = displacement(optimizer, gradient)
        still = displacement(optimizer, tuple(torch.zeros_like(g) for g in gradient))
        return tuple(a - b for a, b in zip(moved, still, strict=True))

    def pullback(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Map:
        raise UserError(
            f"{type(optimizer).__name__}, as it is set here, has no lookahead with a derivative; use the feedback "
            "`dot` or `cosine`, one of the optimizers adam, adamw, lars, rmsprop or sgd, or register a lookahead for it"
        )
