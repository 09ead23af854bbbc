"""0-d tensors that describe a step, left on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mplframe.contracts.batch import Metrics


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """[] share of [N, C] logits whose greatest entry is at the [N] label."""
    return (logits.detach().argmax(-1) == labels).float().mean()


def mean_metrics(parts: Sequence[Metrics]) -> Metrics:
    """The mean of each metric over micro-batches of equal size."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]} if parts else {}


def prefixed(prefix: str, metrics: Metrics) -> Metrics:
    """The same metrics as `prefix/name`."""
    return {f"{prefix}/{name}": value for name, value in metrics.items()}
