"""Modules and what concerns their parameters and batch statistics."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from mplframe.errors import UserError


class Network(nn.Module):
    """An architecture's network behind the normalisation that its data ask for.

    Args:
        body: [N, C, H, W] float, or [N, C, T, H, W] where it takes clips, -> [N, classes] logits.
        mean: per channel, in units of the [0, 1] pixel range.
        std: likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.body = body
        # From the config, not learned: a checkpoint needn't carry them.
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1) * 255.0, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1) * 255.0, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] or [N, T, C, H, W] uint8 pixels, or floats that are already normalised, -> [N, classes]."""
        if images.dtype == torch.uint8:
            images = (images.to(self.mean.dtype) - self.mean) / self.std
        if images.ndim == 5:
            images = images.transpose(1, 2).contiguous()  # [N, C, T, H, W]
        logits: Tensor = self.body(images)
        return logits


def freeze(module: nn.Module, patterns: Sequence[str]) -> None:
    """Exclude parameters from training.

    Raises:
        UserError: a pattern fits no name.
    """
    names = dict(module.named_parameters())
    for pattern in patterns:
        matching = fnmatch.filter(names, pattern)
        if not matching:
            some = ", ".join(list(names)[:3])
            raise UserError(f"freeze: no parameter's name fits {pattern!r}; names are like {some}")
        for name in matching:
            names[name].requires_grad_(False)


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


@contextmanager
def enough_values(stage: str) -> Iterator[None]:
    """A block in which a norm may be given one value a channel, which has no variance.

    Args:
        stage: whose step it is, for the error.

    Raises:
        UserError: says what to change.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            f"{stage}: a batch norm sees one value a channel, since a micro-batch has one sample there and the network "
            "reduces it to one pixel. Use larger batches or a smaller `accumulate` (method.batch), larger images "
            "(input.size), or a network without batch norms"
        ) from error
