"""The `exact` and `per_example` feedback differentiate a student forwards: every architecture has to let them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.contracts.batch import Tensors
from mplframe.models.efficientnet import EfficientNetB0
from mplframe.models.mlp import MLP
from mplframe.models.r2plus1d import R2Plus1D
from mplframe.models.resnet import ResNet18, ResNet50
from mplframe.models.small_cnn import SmallCNN
from mplframe.models.wide_resnet import WideResNet
from mplframe.training.network import frozen_statistics
from mplframe.training.student import forward_mode

SPEC = ImageSpec(size=16, channels=3, classes=5)
MAKERS: dict[str, Callable[[], Architecture]] = {
    "efficientnet_b0": EfficientNetB0,
    "mlp": MLP,
    "r2plus1d": lambda: R2Plus1D(R2Plus1D.Config(width=8)),
    "resnet18": ResNet18,
    "resnet50": lambda: ResNet50(ResNet50.Config(dropout=0.2, stochastic_depth=0.2)),
    "small_cnn": SmallCNN,
    "wide_resnet": lambda: WideResNet(WideResNet.Config(depth=10, width=1)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_forward_mode_agrees_with_reverse_mode(name: str) -> None:
    torch.manual_seed(0)
    architecture = MAKERS[name]()
    spec = replace(SPEC, frames=4 if architecture.clips else None)
    network = architecture.build(spec).double().train()
    images = torch.randn(6, *spec.shape, dtype=torch.float64)
    names, weights = zip(*((n, p.detach()) for n, p in network.named_parameters()), strict=True)
    direction = tuple(torch.randn_like(w) for w in weights)

    def logits(given: Tensors) -> Tensor:
        torch.manual_seed(1)  # the same dropout each time
        with frozen_statistics(network):
            found: Tensor = functional_call(network, dict(zip(names, given, strict=True)), (images,))
        return found

    slopes = forward_mode(logits, weights, direction)
    probe = torch.randn_like(slopes)
    gradient = torch.autograd.grad((logits(tuple(network.parameters())) * probe).sum(), list(network.parameters()))
    backwards = sum((g * d).sum() for g, d in zip(gradient, direction, strict=True))
    torch.testing.assert_close((slopes * probe).sum(), backwards, rtol=1e-8, atol=1e-8)
