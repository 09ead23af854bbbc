"""The suites have teeth: broken datasets, augmentations, evaluators, trackers, backends and methods."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mplframe.augmentation.flip import Flip
from mplframe.backends.single import Single
from mplframe.config.base import ComponentConfig
from mplframe.contracts.backend import Backend
from mplframe.contracts.data import Augmentation, DatasetSource, Draws, Sample, Split
from mplframe.contracts.evaluation import Evaluator
from mplframe.contracts.method import Method, Stage, StagePlan
from mplframe.contracts.tracker import Record, Tracker
from mplframe.testing import (
    check_augmentation,
    check_backend,
    check_dataset,
    check_evaluator,
    check_method,
    check_tracker,
    named,
)


class Config(ComponentConfig):
    name: Literal["broken"] = "broken"


def rejects(check: Callable[[], None], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check()


class Numbers(Split):
    """Ten images of noise, the label of each its number; `change` spoils samples as they are read."""

    def __init__(self, change: Callable[[Sample], Sample], sizes: Sequence[int] = (6, 4)) -> None:
        self.change, self.sizes = change, sizes

    @property
    def group_sizes(self) -> Sequence[int]:
        return self.sizes

    def read(self, indices: Sequence[int]) -> list[Sample]:
        return [self.change(Sample(f"s{i}", np.full((4, 4, 1), i, np.uint8), i)) for i in indices]


class Source(DatasetSource):
    Config = Config

    def __init__(self, change: Callable[[Sample], Sample] = lambda s: s, **more: Any) -> None:
        self.change, self.more = change, more

    @property
    def classes(self) -> Sequence[str]:
        return self.more.get("classes", [str(i) for i in range(10)])

    def split(self, name: str) -> Split | None:
        return None if name == self.more.get("missing") else Numbers(self.change, self.more.get("sizes", (6, 4)))

    def fingerprint(self) -> Mapping[str, Any]:
        return {"id": id(self)} if self.more.get("unstable") else {}


DATASETS = {
    "floats": (lambda: Source(lambda s: replace(s, image=s.image / 255)), "not uint8"),
    "no channels": (lambda: Source(lambda s: replace(s, image=s.image[..., 0])), r"not \[H, W, channels\]"),
    "label out of range": (lambda: Source(lambda s: replace(s, label=s.label + 1)), "label 10 isn't in"),
    "unknown label": (lambda: Source(lambda s: replace(s, label=-1)), "labeled, .* isn't in 0"),
    "shared keys": (lambda: Source(lambda s: replace(s, key="same")), "share a key"),
    "random pixels": (
        lambda: Source(lambda s: replace(s, image=np.random.default_rng().integers(0, 256, (4, 4, 1), dtype=np.uint8))),
        "another image or label",
    ),
    "no test split": (lambda: Source(missing="test"), r"split\('test'\) gave NoneType"),
    "empty": (lambda: Source(sizes=()), "there are no samples"),
    "one class": (lambda: Source(classes=["all"]), "at least two"),
    "unstable fingerprint": (lambda: Source(unstable=True), "another fingerprint"),
}


@pytest.mark.parametrize("case", DATASETS)
def test_datasets(case: str) -> None:
    make, promise = DATASETS[case]
    rejects(lambda: check_dataset(make), promise)


def test_a_sound_dataset_passes() -> None:
    check_dataset(Source)
    check_dataset(lambda: Source(missing="unlabeled"), splits=("labeled", "test"))
    rejects(lambda: check_dataset(Source, splits=("labeled", "test")), r"split\('unlabeled'\) isn't None")


class Change(Augmentation):
    Config = Config

    def __init__(self, apply: Callable[[Tensor, Draws], Tensor] | None = None, draw: Any = None) -> None:
        self._apply, self._draw = apply or Flip().apply, draw or Flip().draw

    def draw(self, batch: int, size: int, rng: np.random.Generator) -> Draws:
        return self._draw(batch, size, rng)

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        return self._apply(images, draws)


AUGMENTATIONS = {
    "in place": (lambda: Change(lambda images, _: images.add_(1)), "changed in place"),
    "floats": (lambda: Change(lambda images, _: images / 255), "not uint8"),
    "smaller": (lambda: Change(lambda images, _: images[..., 1:]), "images became"),
    "mixes the batch": (lambda: Change(lambda images, _: images.flip(0)), "without the rest of the batch"),
    "random": (lambda: Change(lambda images, _: torch.randint_like(images, 256)), "other images the second time"),
    "another generator": (lambda: Change(draw=lambda *_: Flip().draw(11, 8, np.random.default_rng())), "draw from `rng` alone"),
    "too few rows": (lambda: Change(draw=lambda b, s, rng: Flip().draw(b - 1, s, rng)), "rows for 11 images"),
}


@pytest.mark.parametrize("case", AUGMENTATIONS)
def test_augmentations(case: str) -> None:
    make, promise = AUGMENTATIONS[case]
    rejects(lambda: check_augmentation(make), promise)


Outputs = Iterable[tuple[Tensor, Tensor]]


def accuracies(outputs: Outputs) -> list[Tensor]:
    return [(logits.argmax(1) == labels).float().mean() for logits, labels in outputs]


def mean_of_means(outputs: Outputs) -> Any:
    return {"top1": float(torch.stack(accuracies(outputs)).mean())}


def overwriting(outputs: Outputs) -> Any:
    return {"greatest": max(float(logits.zero_().max()) for logits, _ in outputs)}


EVALUATORS = {
    "mean of means": (mean_of_means, "that of the whole split"),
    "first batch only": (lambda outputs: {"top1": float(accuracies([next(iter(outputs))])[0])}, "of 50 samples"),
    "a tensor": (lambda outputs: {"top1": accuracies(outputs)[0]}, "not a float"),
    "a role": (lambda outputs: {"student/top1": float(accuracies(outputs)[0])}, "by the engine"),
    "nothing": (lambda outputs: {} if accuracies(outputs) else {}, "no metrics"),
    "in place": (overwriting, "changed in place"),
}


@pytest.mark.parametrize("case", EVALUATORS)
def test_evaluators(case: str) -> None:
    formula, promise = EVALUATORS[case]

    class Broken(Evaluator):
        evaluate = lambda self, outputs, classes: formula(outputs)  # noqa: E731

    Broken.Config = Config
    rejects(lambda: check_evaluator(Broken), promise)


class Steps(Tracker):
    """Numbers of training records in a file; what is there already stays."""

    Config = Config

    def open(self, folder: Path, *, total_steps: int, done: int) -> None:
        self.file = (folder / "steps.txt").open("a")

    def log(self, record: Record) -> None:
        if record.split == "train":
            print(record.total, file=self.file)

    def close(self) -> None:
        self.file.close()


class Slow(Steps):
    def progress(self, stage: str, step: int, steps: int, total: int) -> None:
        until = time.thread_time() + 2e-3
        while time.thread_time() < until:
            pass


def test_trackers(tmp_path: Path) -> None:
    def read(run: Path) -> list[int]:
        return [int(line) for line in (run / "steps.txt").read_text().split()]

    for case in ("again", "slow"):
        (tmp_path / case).mkdir()
    rejects(lambda: check_tracker(Steps, tmp_path / "again", read=read), "earlier life have to be dropped")
    rejects(lambda: check_tracker(Slow, tmp_path / "slow", read=None), "next to nothing")


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
        return [replace(plan, build=lambda context, plan=plan: Staged(plan.build(context), **changed)) for plan in plans]

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
