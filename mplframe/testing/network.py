"""Contract suites of architectures and losses."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.contracts.loss import VIEWS, AuxLoss, LossInputs, Mix, View, of_labeled
from mplframe.testing.component import made, same, stored, without_values

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


LABELED, UNLABELED, STEPS = 4, 6, 10


def check_loss(make: Callable[[], AuxLoss]) -> None:
    """Hold an auxiliary loss against its contract.

    It looks only at the views it lists and gives [N] finite values, for two classes or many, in half precision as
    well, at the first step and the last; a gradient reaches the logits; inputs stay as they are; equal inputs give
    equal losses; nothing is read from the device.

    Args:
        make: makes the loss.

    Raises:
        AssertionError: names the broken promise.
    """
    loss = made(make, AuxLoss)
    unknown = set(loss.views) - set(VIEWS)
    assert not unknown, f"views {sorted(unknown)} don't exist; there are {', '.join(VIEWS)}"
    assert loss.views, "the loss lists no views, so it sees no logits"
    assert isinstance(loss.weight, float | int), f"weight is {type(loss.weight).__name__}, not a number"
    assert loss.weight >= 0, f"weight is {loss.weight}, below 0"
    for classes in (2, 10):
        for dtype in (torch.float64, torch.float32, torch.bfloat16):
            for step in (0, STEPS - 1):
                _check_values(loss, _inputs(loss, classes, step, dtype=dtype))
    _check_gradient(loss)
    _check_loss_on_meta(loss)


def _inputs(loss: AuxLoss, classes: int, step: int, *, dtype: torch.dtype, grad: bool = False) -> LossInputs:
    generator = torch.Generator().manual_seed(classes)
    logits: dict[View, Tensor] = {}
    for view in VIEWS:
        count = LABELED if of_labeled(view) else UNLABELED
        drawn = torch.randn(count, classes, generator=generator).to(dtype)
        if view in loss.views:
            logits[view] = drawn.requires_grad_(grad)
    labels = torch.randint(classes, (LABELED,), generator=generator)
    targets = torch.rand(UNLABELED, classes, generator=generator)
    mix = Mix(torch.randperm(LABELED, generator=generator), torch.tensor(0.7))
    return LossInputs(logits, labels, step, STEPS, targets / targets.sum(-1, keepdim=True), mix)


def _called(loss: AuxLoss, inputs: LossInputs) -> Tensor:
    try:
        return loss(inputs)
    except KeyError as error:
        raise AssertionError(f"the loss looks at {error}, but lists only {sorted(loss.views)} in `views`") from error


def _check_values(loss: AuxLoss, inputs: LossInputs) -> None:
    before = {view: logits.clone() for view, logits in inputs.logits.items()}
    found = _called(loss, inputs)
    allowed = sorted({len(logits) for logits in inputs.logits.values()})
    assert found.ndim == 1 and len(found) in allowed, (  # noqa: PT018 - one promise
        f"the loss is {list(found.shape)}; one value a sample is [N], here with N in {allowed}"
    )
    dtype = next(iter(inputs.logits.values())).dtype
    assert bool(found.isfinite().all()), f"the loss of {dtype} logits isn't finite: {found}"
    assert not same(before, inputs.logits), "the logits were changed in place"
    assert not same(found, _called(loss, inputs)), "the same inputs gave another loss the second time"


def _check_gradient(loss: AuxLoss) -> None:
    # At the last step, where a ramp that begins at 0 has risen.
    inputs = _inputs(loss, 10, STEPS - 1, dtype=torch.float64, grad=True)
    found = _called(loss, inputs)
    assert found.requires_grad, "the loss has no graph: no gradient can reach the network"
    found.mean().backward()  # type: ignore[no-untyped-call]
    gradients = [logits.grad for logits in inputs.logits.values() if logits.grad is not None]
    assert any(bool(g.any()) for g in gradients), "the gradient of the loss is 0 at random logits"
    assert all(bool(g.isfinite().all()) for g in gradients), "the gradient of the loss isn't finite"


def _check_loss_on_meta(loss: AuxLoss) -> None:
    inputs = _inputs(loss, 10, STEPS - 1, dtype=torch.float32)
    far: dict[View, Tensor] = {view: logits.to("meta") for view, logits in inputs.logits.items()}
    with without_values("the loss"):
        assert inputs.targets is not None
        assert inputs.mix is not None
        mix = Mix(inputs.mix.partner.to("meta"), inputs.mix.share.to("meta"))
        labels, targets = inputs.labels.to("meta"), inputs.targets.to("meta")
        loss(LossInputs(far, labels, inputs.step, inputs.steps, targets, mix))
