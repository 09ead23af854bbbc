"""What a network says of images, and nothing else about it changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torchvision.ops import StochasticDepth

from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Batch, Samples
from mplframe.models.ensemble import log_mean_probability


def predict(network: nn.Module, images: Tensor, backend: Backend, *, noisy: bool = False) -> Tensor:
    """[N, C] float32 logits in evaluation mode, without a graph; the network's mode is left as it was.

    Args:
        network: a classifier.
        images: on the host or on the device: [N, C, H, W], or [N, clips, frames, C, H, W] of videos, whose
            probabilities are the mean of their clips' (Billion-scale SSL, 5.1).
        backend: where the network runs.
        noisy: keep dropout and stochastic depth on.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    for module in _noise(network) if noisy else ():
        module.train()
    try:
        placed = backend.place(Batch(Samples(images.flatten(0, 1) if images.ndim == 6 else images))).labeled.weak
        with torch.no_grad(), backend.autocast():  # XLA has no inference mode
            logits: Tensor = network(placed)
        logits = logits.float()
        if images.ndim == 6:
            logits = log_mean_probability(logits.view(*images.shape[:2], -1).transpose(0, 1))
        backend.mark_step()
        return logits
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def without_noise(network: nn.Module) -> Iterator[None]:
    """A block in which dropout and stochastic depth are off, whatever mode the network is in."""
    modes = {module: module.training for module in _noise(network)}
    for module in modes:
        module.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _noise(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, _DropoutNd | DropPath | StochasticDepth)]
