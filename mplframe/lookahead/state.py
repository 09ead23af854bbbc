"""An optimizer's parameters with their settings and state, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mplframe.contracts.batch import Tensors
from mplframe.contracts.lookahead import Map


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
