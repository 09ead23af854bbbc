"""The contract of auxiliary losses."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mplframe.contracts.loss import VIEWS, AuxLoss, LossInputs, Mix, View, of_labeled
from mplframe.testing.component import made, same, without_values

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
    _check_meta(loss)


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


def _check_meta(loss: AuxLoss) -> None:
    inputs = _inputs(loss, 10, STEPS - 1, dtype=torch.float32)
    far: dict[View, Tensor] = {view: logits.to("meta") for view, logits in inputs.logits.items()}
    with without_values("the loss"):
        assert inputs.targets is not None
        assert inputs.mix is not None
        mix = Mix(inputs.mix.partner.to("meta"), inputs.mix.share.to("meta"))
        labels, targets = inputs.labels.to("meta"), inputs.targets.to("meta")
        loss(LossInputs(far, labels, inputs.step, inputs.steps, targets, mix))
