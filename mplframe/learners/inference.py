"""What a network says of images, and nothing else about it changed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mplframe.contracts.backend import Backend


def predict(network: nn.Module, images: Tensor, backend: Backend) -> Tensor:
    """[N, C] float32 logits in evaluation mode, without a graph; the network's mode is left as it was."""
    training = network.training
    network.eval()
    try:
        with torch.inference_mode(), backend.autocast():
            logits: Tensor = network(images)
        return logits.float()
    finally:
        network.train(training)
