"""The suites have teeth: broken architectures and losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from broken import Config, rejects
from torch import Tensor, nn

from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.contracts.loss import AuxLoss, LossInputs
from mplframe.testing import check_architecture, check_loss


class Noisy(nn.Module):
    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1)) + torch.randn(len(x), 1)


class Shifted(nn.Module):
    """Holds a random tensor that is no buffer, so that no checkpoint has it."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, classes)
        self.shift = torch.randn(classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1)) + self.shift


def inputs_of(spec: ImageSpec) -> int:
    return spec.channels * spec.size**2


def from_numpy(spec: ImageSpec) -> nn.Module:
    network = nn.Linear(inputs_of(spec), spec.classes)
    network.weight.data = torch.from_numpy(np.random.randn(*network.weight.shape)).to(network.weight)
    return nn.Sequential(nn.Flatten(), network)


def linear(spec: ImageSpec, *, more: int = 0, **where: Any) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs_of(spec), spec.classes + more, **where))


ARCHITECTURES = {
    "too many logits": (lambda s: linear(s, more=1), "not .N, classes"),
    "weights from numpy": (from_numpy, "torch's global RNG alone"),
    "names a device": (lambda s: linear(s, device="cpu"), "on the meta device .* takes memory"),
    "noise in evaluation": (lambda s: Noisy(inputs_of(s), s.classes), "different logits each time"),
    "state outside": (lambda s: Shifted(inputs_of(s), s.classes), "restored from a checkpoint"),
    "frozen": (lambda s: linear(s).requires_grad_(False), "no trainable parameters"),
}


@pytest.mark.parametrize("case", ARCHITECTURES)
def test_architectures(case: str) -> None:
    build, promise = ARCHITECTURES[case]

    class Broken(Architecture):
        build = lambda self, spec: build(spec)  # noqa: E731

    Broken.Config = Config
    rejects(lambda: check_architecture(Broken), promise)


def batchwide(inputs: LossInputs) -> Tensor:
    return inputs.logits["weak"].logsumexp(-1).mean()


def in_place(inputs: LossInputs) -> Tensor:
    return inputs.logits["weak"].detach().mul_(0.5).logsumexp(-1)


def synced(inputs: LossInputs) -> Tensor:
    values = inputs.logits["weak"].logsumexp(-1)
    return values / max(1.0, values.detach().max().item())


def overflowing(inputs: LossInputs) -> Tensor:
    return (inputs.logits["weak"] * 1e38).exp().sum(-1)


LOSSES = {
    "random": (lambda i: i.logits["weak"].logsumexp(-1) * torch.rand(()), "another loss the second time"),
    "unlisted view": (lambda i: i.logits["strong"].logsumexp(-1), "'strong', but lists only"),
    "a mean": (batchwide, "one value a sample"),
    "no graph": (lambda i: i.logits["weak"].detach().logsumexp(-1), "no graph"),
    "in place": (in_place, "changed in place"),
    "host sync": (synced, "reads a tensor on the host"),
    "infinite": (overflowing, "isn't finite"),
}


@pytest.mark.parametrize("case", LOSSES)
def test_losses(case: str) -> None:
    formula, promise = LOSSES[case]

    class Broken(AuxLoss):
        views = frozenset({"weak"})
        __call__ = lambda self, inputs: formula(inputs)  # noqa: E731

    Broken.Config = Config
    rejects(lambda: check_loss(Broken), promise)
