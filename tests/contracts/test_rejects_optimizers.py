"""The suites have teeth: broken lookaheads, optimizers and schedules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from broken import Config, rejects
from torch import nn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.optimizer import Lookahead, OptimizerConfig, OptimizerFactory, Schedule
from mplframe.optim import sgd as sgd_lookahead
from mplframe.testing import check_lookahead, check_loss, check_optimizer, check_schedule


class Settings(OptimizerConfig):
    name: Literal["broken"] = "broken"
    lr: float = 0.1
    weight_decay: float = 0.01


class Ahead(Lookahead):
    """The lookahead of SGD with one of its answers changed."""

    Config = Config
    sound = sgd_lookahead.SGDLookahead()

    def __init__(self, **changed: Callable[..., Any]) -> None:
        self.changed = changed

    def accepts(self, optimizer: Any) -> bool:
        return self.changed.get("accepts", self.sound.accepts)(optimizer)

    def displacement(self, optimizer: Any, gradient: Any) -> Any:
        return self.changed.get("displacement", self.sound.displacement)(optimizer, gradient)

    def label_part(self, optimizer: Any, gradient: Any) -> Any:
        return self.changed.get("label_part", self.sound.label_part)(optimizer, gradient)

    def pullback(self, optimizer: Any, gradient: Any) -> Any:
        return self.changed.get("pullback", self.sound.pullback)(optimizer, gradient)


def no_decay(optimizer: Any, gradient: Any) -> Any:
    groups = [(g, group["lr"]) for group in optimizer.param_groups for g in gradient]
    return tuple(-lr * g for g, lr in groups)


def moving(optimizer: Any, gradient: Any) -> Any:
    optimizer.param_groups[0]["params"][0].data.add_(1.0)
    return Ahead.sound.label_part(optimizer, gradient)


def half(optimizer: Any, gradient: Any) -> Any:
    whole = Ahead.sound.pullback(optimizer, gradient)
    return lambda vector: tuple(0.5 * pulled for pulled in whole(vector))


def late(optimizer: Any, gradient: Any) -> Any:
    return lambda vector: Ahead.sound.pullback(optimizer, gradient)(vector)  # noqa: PLW0108  the point of it


LOOKAHEADS = {
    "not accepted": ({"accepts": lambda o: False}, "doesn't accept SGD"),
    "without decay": ({"displacement": no_decay}, "displacement isn't what step"),
    "label part of another sign": ({"label_part": lambda o, g: g}, "label_part isn't"),
    "half the slope": ({"pullback": half}, "isn't J.T u"),
    "reads the optimizer after the step": ({"pullback": late}, "isn't the same after the step"),
    "moves the weights": ({"label_part": moving}, "looking ahead changed /parameters/0"),
}


def sgd(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01)


@pytest.mark.parametrize("case", LOOKAHEADS)
def test_lookaheads(case: str) -> None:
    changed, promise = LOOKAHEADS[case]
    rejects(lambda: check_lookahead(lambda: Ahead(**changed), sgd), promise)


def test_a_refusal_has_to_be_one() -> None:
    rejects(lambda: check_lookahead(sgd_lookahead.SGDLookahead, sgd, derivative="refused"), "pullback gives a result")


class Fixed(torch.optim.SGD):
    """Steps at a rate of its own, whatever its groups say."""

    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.data.add_(p.grad, alpha=-0.01)


class Watchful(torch.optim.SGD):
    def step(self, closure: Any = None) -> None:
        assert self.param_groups[0]["params"][0].grad.norm().item() >= 0
        super().step()


class Ascending(torch.optim.SGD):
    def __init__(self, groups: Any, lr: float) -> None:
        super().__init__(groups, lr=lr, maximize=True)


def undecayed(groups: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": g["params"]} for g in groups], lr=lr)


OPTIMIZERS = {
    "its own rate": (Fixed, "moves at a learning rate of 0"),
    "host sync": (Watchful, "reads a tensor on the host"),
    "uphill": (Ascending, "didn't lower a smooth loss"),
    "decay lost": (undecayed, "lost the weight_decay"),
    "another rate": (lambda groups, lr: torch.optim.SGD(groups, lr=2 * lr), "the factory says 0.1"),
}


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_optimizers(case: str) -> None:
    build, promise = OPTIMIZERS[case]

    class Broken(OptimizerFactory):
        config = Settings()
        build = lambda self, groups: build(groups, lr=0.1)  # noqa: E731

    Broken.Config = Settings
    rejects(lambda: check_optimizer(Broken), promise)


class Counting(Schedule):
    Config = Config
    asked = 0

    def at(self, step: int, steps: int) -> float:
        self.asked += 1
        return 1.0 / self.asked


SCHEDULES = {
    "above the peak": (lambda step, steps: 1.5, "isn't in .0, 1."),
    "never above 0": (lambda step, steps: 0.0, "always 0"),
}


@pytest.mark.parametrize("case", SCHEDULES)
def test_schedules(case: str) -> None:
    formula, promise = SCHEDULES[case]

    class Broken(Schedule):
        at = lambda self, step, steps: formula(step, steps)  # noqa: E731

    Broken.Config = Config
    rejects(lambda: check_schedule(Broken), promise)


def test_schedules_keep_no_state() -> None:
    rejects(lambda: check_schedule(Counting), "keep no state")


def test_a_config_has_to_fix_its_name() -> None:
    class Loose(ComponentConfig):
        name: str = "loose"

    class Nameless(Counting):
        Config = Loose

    rejects(lambda: check_schedule(Nameless), "has to fix its name")
    rejects(lambda: check_loss(Counting), "doesn't extend AuxLoss")
