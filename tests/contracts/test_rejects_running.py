"""The suites have teeth: broken backends and methods."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from broken import Config, rejects
from torch import nn

from mplframe.backends.single import Single
from mplframe.contracts.backend import Backend
from mplframe.contracts.method import Method, Stage, StagePlan
from mplframe.testing import check_backend, check_method, named


class Host(Backend):
    """`single` on the CPU with one of its answers changed."""

    Config = Config

    def __init__(self, **changed: Callable[..., Any]) -> None:
        self.sound = Single(Single.Config(device="cpu"))
        self.device, self.changed = self.sound.device, changed

    def _call(self, name: str, *args: Any) -> Any:
        return self.changed[name](self.sound, *args) if name in self.changed else getattr(self.sound, name)(*args)

    def prepare(self, module: nn.Module) -> nn.Module:
        return self._call("prepare", module)

    def place(self, batch: Any) -> Any:
        return self._call("place", batch)

    def autocast(self) -> Any:
        return self._call("autocast")

    def reduce(self, gradients: Any) -> Any:
        return self._call("reduce", gradients)

    def inner(self, a: Any, b: Any) -> Any:
        return self._call("inner", a, b)

    def fetch(self, scalars: Any) -> Any:
        return self._call("fetch", scalars)

    def mark_step(self) -> None:
        return None


def half(*_: Any) -> Any:
    return torch.autocast("cpu", dtype=torch.bfloat16)


BACKENDS = {
    "renames weights": ({"prepare": lambda s, module: nn.Sequential(module)}, "prepare renamed"),
    "pixels as floats": ({"place": lambda s, batch: batch.map(lambda t: t.float())}, "pixels became torch.float32"),
    "half the gradient": ({"reduce": lambda s, gs: tuple(g / 2 for g in gs)}, "reduce changes the gradients"),
    "inner of the first": ({"inner": lambda s, a, b: (a[0] * b[0]).sum()}, "inner is"),
    "scalars sorted": ({"fetch": lambda s, scalars: sorted(s.fetch(scalars))}, "fetch of"),
    "half precision": ({"autocast": half}, "differs from `single`"),
}


@pytest.mark.parametrize("case", BACKENDS)
def test_backends(case: str) -> None:
    changed, promise = BACKENDS[case]
    rejects(lambda: check_backend(lambda: Host(**changed)), promise)


UDA = {
    "name": "uda",
    "steps": 4,
    "batch": {"labeled": 4, "unlabeled": 4},
    "student": {"network": {"name": "mlp", "hidden": [4]}, "optimizer": {"name": "sgd"}},
}


class Staged(Stage):
    """A sound stage with one of its answers changed."""

    def __init__(self, sound: Stage, **changed: Callable[..., Any]) -> None:
        self.sound, self.changed = sound, changed

    def _call(self, name: str, *args: Any) -> Any:
        return self.changed[name](self.sound, *args) if name in self.changed else getattr(self.sound, name)(*args)

    def step(self, batches: Any, step: int) -> Any:
        return self._call("step", batches, step)

    def networks(self, weights: str) -> Any:
        return self._call("networks", weights)

    def artifacts(self) -> Any:
        return self._call("artifacts")

    def state_dict(self) -> Any:
        return self._call("state_dict")

    def load_state_dict(self, state: Any) -> None:
        self._call("load_state_dict", state)


def without_optimizer(stage: Any, state: Any) -> None:
    stage.learner.module.load_state_dict(state["module"])


METHODS = {
    "floats": ({"step": lambda s, b, i: {k: float(v) for k, v in s.step(b, i).items()}}, "metrics stay on the device"),
    "optimizer forgotten": ({"load_state_dict": without_optimizer}, "resumed after step 2 it ends with another"),
    "learns nothing": ({"step": lambda s, b, i: {"loss": torch.zeros(())}}, "changed nothing"),
    "another network": ({"networks": lambda s, w: {"teacher": s.learner.module}}, "first network is 'teacher'"),
}


def staged(change: Callable[[list[StagePlan]], Sequence[StagePlan]]) -> Callable[[], Method]:
    sound = named("method", UDA)()

    class Broken(Method):
        stages = lambda self, make: change(sound.stages(make))  # noqa: E731

    Broken.Config = Config
    return Broken


@pytest.mark.parametrize("case", METHODS)
def test_stages(case: str) -> None:
    changed, promise = METHODS[case]

    def change(plans: list[StagePlan]) -> list[StagePlan]:
        (plan,) = plans
        return [replace(plan, build=lambda context: Staged(plan.build(context), **changed))]

    rejects(lambda: check_method(staged(change)), promise)


PLANS: dict[str, tuple[Callable[[list[StagePlan]], Sequence[StagePlan]], str]] = {
    "no stages": (lambda plans: [], "has no stages"),
    "one name twice": (lambda plans: [*plans, *plans], "share a name"),
    "no passes": (lambda plans: [replace(plan, passes=()) for plan in plans], "passes through no network"),
    "other streams each time": (
        lambda plans: [replace(p, streams=replace(p.streams, labeled=time.perf_counter_ns())) for p in plans],
        "another plan the second time",
    ),
}


@pytest.mark.parametrize("case", PLANS)
def test_plans(case: str) -> None:
    change, promise = PLANS[case]
    rejects(lambda: check_method(staged(change)), promise)
