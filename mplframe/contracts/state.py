"""Nested states: mappings and lists of tensors and plain values, as checkpoints hold them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor


def mapped(state: Any, change: Callable[[str, Tensor], Any], path: str = "") -> Any:
    """A nested state with every tensor replaced by `change(path, tensor)`; a path is like `state/module/weight`."""
    if isinstance(state, Tensor):
        return change(path, state)
    if isinstance(state, dict):
        # A copy, not a new one: torch keeps versions of modules in an attribute of its state dicts.
        found = copy.copy(state)
        for key, value in state.items():
            found[key] = mapped(value, change, f"{path}/{key}" if path else str(key))
        return found
    if isinstance(state, list | tuple):
        return type(state)(mapped(value, change, f"{path}/{i}" if path else str(i)) for i, value in enumerate(state))
    return state
