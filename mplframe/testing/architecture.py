"""The contract of architectures."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.testing.component import made, same, stored

IMAGES = 4


def check_architecture(make: Callable[[], Architecture], spec: ImageSpec | None = None) -> None:
    """Hold an architecture against its contract.

    Built twice under one seed it has the same weights, drawn from torch's global RNG alone; it gives [N, classes]
    finite logits in training and evaluation, for two classes as well; gradients reach weights; on the meta device it
    allocates nothing and gives the same shapes; it can be copied and stored.

    Args:
        make: makes the architecture.
        spec: what it takes; 3 x 32 x 32 pixels of 10 classes by default, of clips 4 frames.

    Raises:
        AssertionError: names the broken promise.
    """
    architecture = made(make, Architecture)
    spec = spec or ImageSpec(size=32, channels=3, classes=10, frames=4 if architecture.clips else None)
    network = _seeded(architecture, spec, 0)
    _check_seeding(architecture, spec, network)
    images = torch.randn(IMAGES, *spec.shape, generator=torch.Generator().manual_seed(0))
    for classes in sorted({2, spec.classes}):
        narrowed = replace(spec, classes=classes)
        _check_logits(_seeded(architecture, narrowed, 0), images, classes)
    _check_gradients(network, images)
    _check_meta(architecture, spec, network)
    _check_copies(architecture, spec, network, images)


def _seeded(architecture: Architecture, spec: ImageSpec, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = architecture.build(spec)
    assert isinstance(network, nn.Module), f"build gave {type(network).__name__}, not a torch module"
    return network


def _check_seeding(architecture: Architecture, spec: ImageSpec, network: nn.Module) -> None:
    # Other generators stand elsewhere now: whatever is drawn from them differs.
    random.random()
    np.random.random()
    again = _seeded(architecture, spec, 0)
    differs = same(network.state_dict(), again.state_dict())
    assert not differs, (
        f"{differs} isn't the same under the same torch seed: draw weights from torch's global RNG alone"
    )
    for name, tensor in network.state_dict().items():
        assert tensor.device.type == "cpu", f"{name} was built on {tensor.device}: leave devices to the backend"


def _check_logits(network: nn.Module, images: Tensor, classes: int) -> None:
    for training in (True, False):
        network.train(training)
        logits = network(images)
        mode = "training" if training else "evaluation"
        assert isinstance(logits, Tensor), f"{mode}: the network gave {type(logits).__name__}, not a tensor of logits"
        assert logits.shape == (len(images), classes), (
            f"{mode}: logits are {list(logits.shape)}, not [N, classes] = {[len(images), classes]}"
        )
        assert logits.is_floating_point(), f"{mode}: logits are {logits.dtype}, not floats"
        assert bool(logits.isfinite().all()), f"{mode}: logits of plain noise aren't finite"
    with torch.no_grad():
        assert torch.equal(network(images), network(images)), "evaluation mode gives different logits each time"


def _check_gradients(network: nn.Module, images: Tensor) -> None:
    network.train()
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    assert trained, "the network has no trainable parameters"
    network(images).square().sum().backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in trained.values()), "no gradient reaches any weight"
    for name, parameter in trained.items():
        finite = parameter.grad is None or bool(parameter.grad.isfinite().all())
        assert finite, f"the gradient of {name} isn't finite"
        parameter.grad = None


def _check_meta(architecture: Architecture, spec: ImageSpec, network: nn.Module) -> None:
    with torch.device("meta"):
        shell = architecture.build(spec)
        shapes = {name: tensor.shape for name, tensor in shell.state_dict().items()}
        for name, tensor in [*shell.named_parameters(), *shell.named_buffers()]:
            assert tensor.device.type == "meta", f"on the meta device {name} takes memory: name no device in `build`"
        logits = shell(torch.empty(2, *spec.shape))
    assert logits.shape == (2, spec.classes), f"on the meta device logits are {list(logits.shape)}"
    real = {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert shapes == real, "on the meta device the network has other weights than elsewhere"


def _check_copies(architecture: Architecture, spec: ImageSpec, network: nn.Module, images: Tensor) -> None:
    twin = copy.deepcopy(network)
    restored = _seeded(architecture, spec, 1)
    restored.load_state_dict(stored(network.state_dict()))
    with torch.no_grad():
        expected, *found = (module.eval()(images) for module in (network, twin, restored))
    assert torch.equal(found[0], expected), "a deep copy, as of the weights' average, gives other logits"
    assert torch.equal(found[1], expected), "a network restored from a checkpoint gives other logits"
