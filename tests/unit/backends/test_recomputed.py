"""Blocks that run again in the backward change no number."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import timm
import torch

from mplframe.backends.recomputed import recompute_blocks


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_gradients_and_statistics_are_those_without(name: str) -> None:
    """Plain batch norms in training mode, dropout and stochastic depth; two backwards."""
    kept = timm.create_model(name, num_classes=3, drop_rate=0.3, drop_path_rate=0.2).train()
    again = copy.deepcopy(kept)
    recompute_blocks(again, nullcontext)
    images = torch.randn(2, 3, 32, 32)
    for network in (kept, again):
        torch.manual_seed(1)
        for _ in range(2):
            network(images).square().mean().backward()
    for one, other in zip(kept.parameters(), again.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    for key, value in kept.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
