"""One network being trained: gradients in, a step out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from mplframe.backends.single import Single
from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Tensors
from mplframe.contracts.lookahead import Lookahead
from mplframe.contracts.optimizer import Schedule
from mplframe.lookahead.measured import Measured
from mplframe.lookahead.nesterov import Nesterov
from mplframe.lookahead.rmsprop import RMSProp
from mplframe.lookahead.sgd import SGD

KNOWN_LOOKAHEADS: tuple[type[Lookahead], ...] = (Nesterov, SGD, RMSProp)


def find_lookahead(optimizer: torch.optim.Optimizer, candidates: Iterable[Lookahead] | None = None) -> Lookahead:
    """The first lookahead that describes the optimizer; `Measured` where none does.

    Args:
        optimizer: any torch optimizer.
        candidates: what to choose from; those that ship by default.
    """
    options = (cls() for cls in KNOWN_LOOKAHEADS) if candidates is None else candidates
    return next((lookahead for lookahead in options if lookahead.accepts(optimizer)), Measured())


class Learner:
    """A network, its optimizer, its learning-rate schedule and the average of its weights.

    Args:
        module: on its device, in training mode.
        optimizer: over its parameters; each group's `lr` is the peak that the schedule scales.
        backend: reduces gradients over processes; by default this process and the module's device.
        lookahead: describes the optimizer's step; found by itself where it is one of torch's SGD or timm's RMSpropTF.
        schedule: constant where None.
        steps: how many there will be, for the schedule.
        clip: greatest norm of the whole gradient; None for no limit.
        ema: decay of the weights' moving average per step; None keeps none.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        backend: Backend | None = None,
        lookahead: Lookahead | None = None,
        schedule: Schedule | None = None,
        steps: int = 1,
        clip: float | None = None,
        ema: float | None = None,
    ) -> None:
        self.module = module
        self.optimizer = optimizer
        self.backend = backend or Single(Single.Config(device=str(next(module.parameters()).device)))
        self.lookahead = lookahead or find_lookahead(optimizer)
        self.schedule = schedule
        self.steps = steps
        self.clip = clip
        self.ema = None if ema is None else ModelEmaV3(module, decay=ema)
        self.parameters = tuple(p for group in optimizer.param_groups for p in group["params"])
        self._peaks = [float(group["lr"]) for group in optimizer.param_groups]

    def take_gradient(self) -> Tensors:
        """What `backward` has left in `.grad`, averaged over processes; `.grad` is empty afterwards."""
        gradient = tuple(torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters)
        self._clear()
        return self.backend.reduce(gradient)

    def clipped(self, gradient: Tensors) -> Tensors:
        """The gradient, scaled down to the norm `clip` where it is longer."""
        if self.clip is None:
            return gradient
        norm = self.backend.inner(gradient, gradient).sqrt()
        factor: Tensor = (self.clip / norm.clamp_min(1e-12)).clamp(max=1.0)
        return tuple(torch._foreach_mul(gradient, factor))

    def set_rate(self, step: int) -> float:
        """Set the learning rate for step `step`; returns the first group's."""
        factor = 1.0 if self.schedule is None else self.schedule.at(step, self.steps)
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        return self._peaks[0] * factor

    def apply(self, gradient: Tensors) -> None:
        """One optimizer step with this gradient; the weights' average follows."""
        for p, g in zip(self.parameters, gradient, strict=True):
            p.grad = g
        self.optimizer.step()
        self._clear()
        if self.ema is not None:
            self.ema.update(self.module)

    def start_from(self, weights: Mapping[str, Any]) -> None:
        """Begin with these weights of the network, as of its `state_dict`; the average begins there too."""
        self.module.load_state_dict(weights)
        if self.ema is not None:
            self.ema.module.load_state_dict(weights)

    def evaluated(self, weights: str) -> nn.Module:
        """The network to evaluate: the average with `ema` where one is kept, else the weights themselves."""
        return self.ema.module if weights == "ema" and self.ema is not None else self.module

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizer and average."""
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": None if self.ema is None else self.ema.module.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema is not None:
            self.ema.module.load_state_dict(state["ema"])

    def _clear(self) -> None:
        for p in self.parameters:
            p.grad = None
