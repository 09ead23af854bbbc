"""Blocks that keep only what goes into them, and run again in the backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from mplframe.backends.sharding import blocks

Autocast = Callable[[], AbstractContextManager[None]]
"""What forwards run in; see `mplframe.contracts.backend.Backend.autocast`."""


def recompute_blocks(module: nn.Module, autocast: Autocast) -> None:
    """Have every block of a network run again in the backward rather than keep its activations.

    The second forward is the first one over again, with its random numbers and modes, whatever has become of these in
    between; running statistics of norms don't count it.

    Args:
        module: the network.
        autocast: what forwards run in.
    """
    for block in blocks(module):
        block.forward = partial(_run, block.forward, block, autocast)


def _run(forward: Callable[..., Any], block: nn.Module, autocast: Autocast, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        # Nothing is kept anyway, and torch 2.9's checkpoint has no derivative in forward mode.
        return forward(*args, **kwargs)
    modes = {module: module.training for module in block.modules()}
    return checkpoint(
        forward, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), _again(modes, autocast)), **kwargs
    )


@contextmanager
def _again(modes: dict[nn.Module, bool], autocast: Autocast) -> Iterator[None]:
    now = {module: module.training for module in modes}
    kept = [
        (norm, norm.momentum, norm.num_batches_tracked, norm.num_batches_tracked.clone())
        for norm in modes
        if isinstance(norm, _NormBase) and norm.num_batches_tracked is not None
    ]
    _set(modes)
    for norm, *_ in kept:
        # Not `track_running_stats`: without it a norm saves fewer tensors than in the first forward.
        norm.momentum = 0.0
    try:
        with autocast():
            yield
    finally:
        _set(now)
        for norm, momentum, batches, counted in kept:
            norm.momentum = momentum
            batches.copy_(counted)


def _set(modes: dict[nn.Module, bool]) -> None:
    for module, training in modes.items():
        module.training = training
