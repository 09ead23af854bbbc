"""A run without networks: a stage that adds up what it is fed, so that every step leaves its mark."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mplframe.backends.single import Single
from mplframe.checkpoint.store import CheckpointStore
from mplframe.contracts.batch import Batch, Metrics, Samples
from mplframe.contracts.data import EvaluationBatch
from mplframe.contracts.method import Stage, StagePlan, Streams, TaskPlan
from mplframe.contracts.watching import Record, Tracker
from mplframe.engine.interrupt import Flag
from mplframe.engine.loop import Choice, Engine, Every, Progress, RunStage, RunTask
from mplframe.evaluation.classification import Classification
from mplframe.inference.judge import Judge

BACKEND = Single(Single.Config(device="cpu"))


class Sum(nn.Module):
    """[N, 1, 1, 1] -> [N, 2]: class 0 where the sum of what was seen is above the pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros((), dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        pixel = images.flatten(1)[:, :1].double()
        return torch.cat([self.total - pixel, pixel - self.total], 1)  # type: ignore[operator]


@dataclass
class Script:
    """What happens in which step, counted through all stages: a signal, or a loss that isn't finite."""

    signals: Mapping[int, int] = field(default_factory=dict)
    losses: Mapping[int, float] = field(default_factory=dict)


class SumStage(Stage):
    """Adds each batch and a number from the global generator."""

    def __init__(self, script: Script, first: int = 0) -> None:
        self.network = Sum()
        self.script = script
        self.first = first

    def step(self, batches: Sequence[Batch], step: int) -> Metrics:
        step += self.first
        if step in self.script.signals:
            os.kill(os.getpid(), self.script.signals[step])
        self.network.total += sum(float(batch.labeled.weak.sum()) for batch in batches) + float(torch.rand(()))
        loss = self.script.losses.get(step, float(self.network.total))
        return {"student/loss": torch.tensor(loss, dtype=torch.float64)}

    def networks(self, weights: str) -> Mapping[str, nn.Module]:
        return {"student": self.network}

    def artifacts(self) -> Mapping[str, Mapping[str, Any]]:
        return {"student": self.network.state_dict()}

    def state_dict(self) -> dict[str, Any]:
        return dict(self.network.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state)


class Numbers:
    """A feed: step i of a stage gives the pixels i + 1, once a labeled sample."""

    def __init__(self) -> None:
        self.open = 0

    def batches(self, stage: RunStage, start: int) -> Iterator[Batch]:
        self.open += 1
        try:
            for step in range(start, stage.plan.steps):
                images = torch.full((stage.plan.streams.labeled, 1, 1, 1), float(step + 1))
                yield Batch(Samples(images, labels=torch.zeros(len(images), dtype=torch.int64)))
        finally:
            self.open -= 1

    def position(self, stage: RunStage, step: int) -> dict[str, Any]:
        return {"labeled": {"samples": step * stage.plan.streams.labeled}}


class Kept(Tracker):
    """Keeps the records."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.steps: list[tuple[str, int, int]] = []

    def open(self, folder: Path, *, total_steps: int, done: int) -> None:
        return None

    def log(self, record: Record) -> None:
        self.records.append(record)

    def progress(self, stage: str, step: int, steps: int, total: int) -> None:
        self.steps.append((stage, step, total))

    def close(self) -> None:
        return None


def held_out(size: int | None = None) -> Iterator[EvaluationBatch]:
    """Pixels 0, 10, 20, ... of class 0: the larger the sum, the more of them are right."""
    yield EvaluationBatch(
        torch.arange(0.0, 200.0, 10.0).view(-1, 1, 1, 1),
        torch.zeros(20, dtype=torch.int64),
        [str(i) for i in range(20)],
        list(range(20)),
    )


@dataclass
class Life:
    """One life of a run in a folder.

    Attributes:
        folder: where its checkpoints lie.
        steps: of each stage.
        script: what happens.
        every: log, evaluate, save.
        accumulate: micro-batches a step.
        task: done between the first stage and the second, where there is one.
    """

    folder: Path
    steps: Sequence[int] = (6,)
    script: Script = field(default_factory=Script)
    every: Every = field(default_factory=lambda: Every(2, 3, 2))
    accumulate: int = 1
    metric: str | None = "top1"
    seed: int = 3
    role: str = "student"
    task: Callable[[Any], Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        self.tracker, self.feed, self.artifacts = Kept(), Numbers(), []  # type: ignore[var-annotated]
        self.store = CheckpointStore(self.folder, keep=50)
        stages: list[RunStage | RunTask] = [self.stage(i, steps) for i, steps in enumerate(self.steps)]
        flag = Flag()
        if self.task is not None:
            stages.insert(1, RunTask("task", TaskPlan("task", (), self.task), flag, main=True))  # type: ignore[arg-type]
        judge = Judge(BACKEND, held_out, [Classification()], 2)
        self.engine = Engine(
            stages,
            backend=BACKEND,
            feed=self.feed,
            judge=judge,
            store=self.store,
            trackers=[self.tracker],
            every=self.every,
            weights="raw",
            choice=None if self.metric is None else Choice(judge, self.metric, self.role),
            identity={"seed": self.seed},
            seed=self.seed,
            keep_artifacts=lambda stage, live: self.artifacts.append(stage.name),
            flag=flag,
        )

    def stage(self, index: int, steps: int) -> RunStage:
        streams = Streams(4, views=frozenset({"labeled"}), accumulate=self.accumulate)
        first = sum(self.steps[:index])
        plan = StagePlan(f"stage{index}", steps, streams, (), (), lambda context: SumStage(self.script, first))
        return RunStage(plan.name, plan, None, main=index == len(self.steps) - 1)  # type: ignore[arg-type]

    def run(self, checkpoint: Mapping[str, Any] | None = None) -> Progress:
        torch.manual_seed(999)  # what the process did before must not matter
        return self.engine.run(checkpoint)

    def newest(self) -> dict[str, Any]:
        found = self.store.newest()
        assert found is not None
        return found[1]


SIGTERM = int(signal.SIGTERM)
