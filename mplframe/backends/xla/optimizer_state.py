"""An optimizer's state before its first step, when torch hasn't made any yet.

A state that appears in the first step would make the second one another graph, to be compiled once more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

STEPS = 2
SHAPE = (2, 3)


@dataclass(frozen=True)
class _Beginning:
    """A parameter's first state.

    Attributes:
        fills: what tensors of the parameter's shape are filled with.
        others: the rest, counters of steps.
    """

    fills: Mapping[str, float]
    others: Mapping[str, Any]

    def of(self, parameter: Tensor) -> dict[str, Any]:
        """The state of a parameter."""
        tensors = {k: torch.full_like(parameter, fill, requires_grad=False) for k, fill in self.fills.items()}
        return {**{k: v.clone() if isinstance(v, Tensor) else v for k, v in self.others.items()}, **tensors}


def make_state(optimizer: torch.optim.Optimizer) -> None:
    """Give each parameter that has no state yet the one that its first step would begin with.

    Nothing is made for an optimizer whose beginning can't be found.

    Args:
        optimizer: of any kind, its parameters on any device.
    """
    for group in optimizer.param_groups:
        fresh = [parameter for parameter in group["params"] if not optimizer.state.get(parameter)]
        beginning = _found(optimizer, group) if fresh else None
        if beginning is not None:
            optimizer.state.update((parameter, beginning.of(parameter)) for parameter in fresh)


def _found(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> _Beginning | None:
    """What the group's state begins with: of zeros and ones, what leads a twin to where it gets by itself."""
    alone, made = _walk(optimizer, group, None)
    tensors = [name for name, value in made.items() if isinstance(value, Tensor) and value.shape == SHAPE]
    others = {name: value * 0 for name, value in made.items() if name not in tensors}
    for fills in product((0.0, 1.0), repeat=len(tensors)):
        candidate = _Beginning(dict(zip(tensors, fills, strict=True)), others)
        if made and torch.equal(_walk(optimizer, group, candidate)[0], alone):
            return candidate
    return None


def _walk(
    optimizer: torch.optim.Optimizer, group: Mapping[str, Any], beginning: _Beginning | None
) -> tuple[Tensor, dict[str, Any]]:
    """Where a parameter of a twin optimizer on the host gets to, and its state then."""
    random = torch.Generator().manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(SHAPE, generator=random))
    twin = object.__new__(type(optimizer))
    # As torch copies optimizers: their constructors take other arguments.
    twin.__setstate__(
        {
            "defaults": optimizer.defaults,
            "state": defaultdict(dict),
            "param_groups": [{**group, "params": [parameter]}],
        }
    )
    if beginning is not None:
        twin.state[parameter] = beginning.of(parameter)
    for _ in range(STEPS):
        parameter.grad = torch.randn(SHAPE, generator=random)
        twin.step()
    return parameter.detach(), twin.state[parameter]
