"""Optimizers with and without a lookahead of their own, over two groups, driven by random gradients."""

from collections.abc import Callable
from typing import Any

import torch
from timm.optim import AdaBelief, RMSpropTF
from timm.optim.lars import Lars
from torch import Tensor

from mplframe.contracts.batch import Tensors
from mplframe.contracts.optimizer import Lookahead
from mplframe.optim.adam import AdamLookahead
from mplframe.optim.lars import LARSLookahead
from mplframe.optim.rmsprop import RMSPropLookahead
from mplframe.optim.sgd import NesterovLookahead, SGDLookahead

Make = Callable[[list[dict[str, Any]]], torch.optim.Optimizer]

KNOWN: dict[str, tuple[Make, type[Lookahead]]] = {
    "sgd": (lambda p: torch.optim.SGD(p, lr=0.1), SGDLookahead),
    "momentum": (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), SGDLookahead),
    "dampening": (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5), SGDLookahead),
    "nesterov": (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8, nesterov=True), NesterovLookahead),
    "rmsprop": (lambda p: RMSpropTF(p, lr=0.1, alpha=0.9, momentum=0.9, eps=1e-3), RMSPropLookahead),
    "rmsprop without momentum": (lambda p: RMSpropTF(p, lr=0.1, alpha=0.5, eps=1e-3), RMSPropLookahead),
    "adam": (lambda p: torch.optim.Adam(p, lr=0.1), AdamLookahead),
    "adamw": (lambda p: torch.optim.AdamW(p, lr=0.1), AdamLookahead),
    "lars": (lambda p: Lars(p, lr=1.0, momentum=0.9, trust_coeff=0.1), LARSLookahead),
    "nesterov lars": (lambda p: Lars(p, lr=1.0, momentum=0.9, nesterov=True, trust_coeff=0.1), LARSLookahead),
}
UNKNOWN: dict[str, Make] = {
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.1),
    "adabelief": lambda p: AdaBelief(p, lr=0.1, eps=1e-3),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "maximizing adam": lambda p: torch.optim.AdamW(p, lr=0.01, maximize=True),
    "maximize": lambda p: torch.optim.SGD(p, lr=0.1, maximize=True),
    "torch's rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1),
    "centered": lambda p: RMSpropTF(p, lr=0.1, centered=True),
    "decoupled decay": lambda p: RMSpropTF(p, lr=0.1, decoupled_decay=True),
    "lr outside the momentum": lambda p: RMSpropTF(p, lr=0.1, momentum=0.9, lr_in_momentum=False),
    "caution": lambda p: RMSpropTF(p, lr=0.1, momentum=0.9, caution=True),
}


def maker(name: str) -> Make:
    """Of either kind."""
    return UNKNOWN.get(name) or KNOWN[name][0]


class Walk:
    """An optimizer over two groups, driven by random gradients and a changing learning rate."""

    def __init__(self, make: Make, dtype: torch.dtype = torch.float64) -> None:
        self.random = torch.Generator().manual_seed(1)
        self.dtype = dtype
        self.parameters = [torch.nn.Parameter(self.draw(shape)) for shape in ((3, 4), (2, 2), (4,))]
        first, second, third = self.parameters
        groups = [
            {"params": [first, second], "weight_decay": 0.05},
            {"params": [third], "weight_decay": 0.0, "lr": 0.02},
        ]
        self.optimizer = make(groups)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self.random, dtype=torch.float64).to(self.dtype)

    def gradient(self) -> Tensors:
        return tuple(self.draw(tuple(p.shape)) for p in self.parameters)

    def set_rate(self, step: int) -> None:
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * (1.0 + 0.1 * step)

    def apply(self, gradient: Tensors) -> Tensors:
        """Really step; how far the parameters went."""
        before = [p.detach().clone() for p in self.parameters]
        for p, g in zip(self.parameters, gradient, strict=True):
            p.grad = g.clone()
        self.optimizer.step()
        return tuple(p.detach() - b for p, b in zip(self.parameters, before, strict=True))

    def begun(self, steps: int) -> "Walk":
        for step in range(steps):
            self.set_rate(step)
            self.apply(self.gradient())
        return self


def largest(a: Tensors, b: Tensors) -> float:
    return max(float((x - y).abs().max()) for x, y in zip(a, b, strict=True))
