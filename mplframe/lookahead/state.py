"""An optimizer's settings and state, one entry a parameter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from mplframe.contracts.batch import Tensors


def per_parameter(
    optimizer: torch.optim.Optimizer, gradient: Tensors
) -> Iterator[tuple[Tensor, Tensor, dict[str, Any], dict[str, Any]]]:
    """For each parameter in the order of the groups: the parameter, its gradient, its group, its state.

    Raises:
        ValueError: `gradient` hasn't one tensor a parameter.
    """
    flat = [(p, group) for group in optimizer.param_groups for p in group["params"]]
    for (parameter, group), g in zip(flat, gradient, strict=True):
        yield parameter.detach(), g, group, optimizer.state.get(parameter, {})
