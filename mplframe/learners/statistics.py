"""Running statistics of normalisation, left alone by forwards that only measure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _NormBase


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Within it, norms in training mode use the batch's statistics and leave their running ones as they are."""
    norms = [m for m in module.modules() if isinstance(m, _NormBase) and m.training and m.track_running_stats]
    running = [(m.running_mean, m.running_var) for m in norms]
    for norm in norms:
        norm.track_running_stats = False
        norm.running_mean = norm.running_var = None
    try:
        yield
    finally:
        for norm, (mean, var) in zip(norms, running, strict=True):
            norm.track_running_stats = True
            norm.running_mean, norm.running_var = mean, var
