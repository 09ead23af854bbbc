"""A network in training: gradient in, step out, and the moving average of its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, final

import torch
from torch import Tensor, nn

from mplframe.backends.single import Single
from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Tensors
from mplframe.contracts.optimizer import Lookahead, Map, Schedule
from mplframe.errors import UserError
from mplframe.optim.adam import AdamLookahead
from mplframe.optim.lars import LARSLookahead
from mplframe.optim.lookahead import MeasuredLookahead
from mplframe.optim.rmsprop import RMSPropLookahead
from mplframe.optim.sgd import NesterovLookahead, SGDLookahead


@final
class Average:
    """A copy of a network whose weights and batch statistics follow it: `a += (1 - decay) (w - a)`; integer buffers are
    copied.

    With a warm-up the decay of update t = 0, 1, ... is at most (1 + t) / (10 + t), as in TensorFlow's
    `ExponentialMovingAverage(num_updates=t)`: without it an average remembers its random start for about
    1 / (1 - decay) steps.

    timm's `ModelEmaV3` does the same, but makes a random generator on the device, which not every device has.

    Args:
        module: what is followed; on its device.
        decay: what is kept of the average in an update.
        warmup: whether the decay grows to that.

    Attributes:
        module: the copy, in evaluation mode.
        updates: how many there were.
    """

    def __init__(self, module: nn.Module, *, decay: float, warmup: bool = True) -> None:
        self.module = deepcopy(module).eval()
        self.updates = 0
        self._decay = decay
        self._warmup = warmup

    @torch.no_grad()
    def update(self, module: nn.Module, rate: Callable[[float], float] = float) -> None:
        """Follow the network.

        Args:
            module: the network.
            rate: see `Backend.rate`; for the share of the network in the average.
        """
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates)) if self._warmup else self._decay
        self.updates += 1
        kinds: dict[type, tuple[list[Tensor], list[Tensor]]] = {}
        for own, new in zip(self.module.state_dict().values(), module.state_dict().values(), strict=True):
            if own.is_floating_point():
                # Shards and whole tensors don't go into one fused operation.
                kept, given = kinds.setdefault(type(own), ([], []))
                kept.append(own)
                given.append(new)
            else:
                own.copy_(new)
        for kept, given in kinds.values():
            if kept[0].device.type == "xla":
                # A weight of lerp is a constant of the program, which would be compiled anew for each; an alpha isn't.
                for own, new in zip(kept, given, strict=True):
                    own.add_(new - own, alpha=rate(1.0 - decay))
            else:
                torch._foreach_lerp_(kept, given, weight=1.0 - decay)


KNOWN_LOOKAHEADS: tuple[type[Lookahead], ...] = (
    NesterovLookahead,
    SGDLookahead,
    RMSPropLookahead,
    AdamLookahead,
    LARSLookahead,
)


def find_lookahead(optimizer: torch.optim.Optimizer, candidates: Iterable[Lookahead] | None = None) -> Lookahead:
    """The first lookahead that describes the optimizer; `Measured` where none does.

    Args:
        optimizer: any torch optimizer.
        candidates: what to choose from; those that ship by default.
    """
    options = (cls() for cls in KNOWN_LOOKAHEADS) if candidates is None else candidates
    return next((lookahead for lookahead in options if lookahead.accepts(optimizer)), MeasuredLookahead())


def _is_frozen(layer: nn.Module) -> bool:
    own = list(layer.parameters(recurse=False))
    return bool(own) and not any(parameter.requires_grad for parameter in own)


class Learner:
    """A network, its optimizer, its learning-rate schedule and the average of its weights.

    Args:
        module: on its device, in training mode.
        optimizer: over its parameters; each group's `lr` is the peak that the schedule scales.
        backend: reduces gradients over processes; by default this process and the module's device.
        lookahead: describes the optimizer's step; found by itself where there is one for it.
        schedule: constant where None.
        steps: how many there will be, for the schedule.
        clip: greatest norm of the whole gradient; None for no limit.
        ema: decay of the weights' moving average per step; None keeps none.
        ema_warmup: see `Average`.
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
        ema_warmup: bool = True,
    ) -> None:
        self.module = module
        self.optimizer = optimizer
        self.backend = backend or Single(Single.Config(device=str(next(module.parameters()).device)))
        self.lookahead = lookahead or find_lookahead(optimizer)
        self.schedule = schedule
        self.steps = steps
        self.clip = clip
        self.ema = None if ema is None else Average(module, decay=ema, warmup=ema_warmup)
        self.parameters = tuple(p for group in optimizer.param_groups for p in group["params"])
        names = {parameter: name for name, parameter in module.named_parameters()}
        self.names = tuple(names[parameter] for parameter in self.parameters)
        self._frozen = [name for name, layer in module.named_modules() if _is_frozen(layer)]
        self._peaks = [float(group["lr"]) for group in optimizer.param_groups]
        self._settle()

    def train(self) -> None:
        """Training mode, except for layers whose every parameter is frozen: their statistics stay too."""
        self._train(self.module)

    def train_average(self) -> nn.Module:
        """The average of the weights in the mode of `train`.

        Raises:
            UserError: none is kept.
        """
        if self.ema is None:
            raise UserError(
                "a loss compares with the average of the weights, but none is kept; set `ema`, such as 0.99"
            )
        self._train(self.ema.module)
        return self.ema.module

    def _train(self, module: nn.Module) -> None:
        module.train()
        for name in self._frozen:
            module.get_submodule(name).eval()

    def take_gradient(self) -> Tensors:
        """What `backward` has left in `.grad`, averaged over processes; `.grad` is empty afterwards."""
        gradient = tuple(torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters)
        self._clear()
        return self.backend.reduce(gradient)

    def clipped(self, gradient: Tensors) -> Tensors:
        """The gradient, scaled down to the norm `clip` where it is longer."""
        if self.clip is None:
            return gradient
        shrink = self._shrink(gradient)
        return tuple(shrink * g for g in gradient)

    def pullback(self, gradient: Tensors, clipped: Tensors) -> Map:
        """`J_f(g)^T`, clipping included, for the step that this gradient is about to make; to be called after it.

        Args:
            gradient: g, before clipping.
            clipped: what `clipped` made of it.
        """
        through = self.lookahead.pullback(self.optimizer, clipped)
        if self.clip is None:
            return through
        return lambda vector: self._through_clip(gradient, through(vector))

    def set_rate(self, step: int) -> float:
        """Set the learning rate for step `step`; returns the first group's."""
        factor = 1.0 if self.schedule is None else self.schedule.at(step, self.steps)
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = self.backend.rate(peak * factor)
        return self._peaks[0] * factor

    def apply(self, gradient: Tensors) -> None:
        """One optimizer step with this gradient; the weights' average follows."""
        for p, g in zip(self.parameters, gradient, strict=True):
            p.grad = g
        self.optimizer.step()
        self._clear()
        if self.ema is not None:
            self.ema.update(self.module, self.backend.rate)

    def start_from(self, weights: Mapping[str, Any]) -> None:
        """Begin with these weights of the network, as of its `state_dict`; the average begins there too."""
        self.module.load_state_dict(weights)
        if self.ema is not None:
            self.ema.module.load_state_dict(weights)
        self._settle()

    def evaluated(self, weights: str) -> nn.Module:
        """The network to evaluate: the average with `ema` where one is kept, else the weights themselves."""
        return self.ema.module if weights == "ema" and self.ema is not None else self.module

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizer and average."""
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": None if self.ema is None else self.ema.module.state_dict(),
            "ema_updates": 0 if self.ema is None else self.ema.updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema is not None:
            self.ema.module.load_state_dict(state["ema"])
            self.ema.updates = state["ema_updates"]
        self._settle()

    def _settle(self) -> None:
        averages = [] if self.ema is None else [self.ema.module]
        self.backend.settle([self.module, *averages], self.optimizer)

    def _shrink(self, gradient: Tensors) -> Tensor:
        assert self.clip is not None
        norm = self.backend.inner(gradient, gradient).sqrt()
        shrink: Tensor = (self.clip / norm.clamp_min(1e-12)).clamp(max=1.0)
        return shrink

    def _through_clip(self, gradient: Tensors, vector: Tensors) -> Tensors:
        """The pull-back through `c g / |g|` where g is longer than c: what lies along g is lost."""
        shrink, square = self._shrink(gradient), self.backend.inner(gradient, gradient)
        along = torch.where(shrink < 1.0, self.backend.inner(gradient, vector) / square.clamp_min(1e-24), 0.0)
        return tuple(shrink * (u - along * g) for u, g in zip(vector, gradient, strict=True))

    def _clear(self) -> None:
        for p in self.parameters:
            p.grad = None
