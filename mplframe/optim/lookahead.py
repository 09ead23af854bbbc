"""What every lookahead shares: slots of the optimizer's state, and a step that is measured where no formula is known.

A lookahead tells what an optimizer is about to do with a gradient. It is not the Lookahead optimizer of Zhang et al.
(2019), which timm ships.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, final

import torch
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors
from mplframe.contracts.optimizer import Lookahead, Map
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
class MeasuredLookahead(Lookahead):
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


class Slot(NamedTuple):
    """One parameter of an optimizer.

    Attributes:
        parameter: theta, detached.
        group: the settings of its group.
        state: what the optimizer remembers of it; empty before its first step.
    """

    parameter: Tensor
    group: Mapping[str, Any]
    state: Mapping[str, Any]

    @property
    def decay(self) -> Tensor:
        """`lambda theta`, the pull of weight decay."""
        pull: Tensor = self.group["weight_decay"] * self.parameter
        return pull


def slots(optimizer: torch.optim.Optimizer) -> Iterator[Slot]:
    """The parameters, in the order of the groups."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            yield Slot(parameter.detach(), group, optimizer.state.get(parameter, {}))


def for_each(formula: Callable[..., Tensor], optimizer: torch.optim.Optimizer, *values: Tensors) -> Tensors:
    """`formula(slot, *value)` for each parameter, with its part of each of `values`.

    Raises:
        ValueError: one of `values` hasn't one tensor a parameter.
    """
    return tuple(formula(slot, *parts) for slot, *parts in zip(slots(optimizer), *values, strict=True))


def mapped(
    formula: Callable[[Slot, Tensor], Callable[[Tensor], Tensor]], optimizer: torch.optim.Optimizer, values: Tensors
) -> Map:
    """The map of all tensors that `formula(slot, value)` makes one by one."""
    each = [formula(slot, value) for slot, value in zip(slots(optimizer), values, strict=True)]
    return lambda vector: tuple(one(part) for one, part in zip(each, vector, strict=True))
