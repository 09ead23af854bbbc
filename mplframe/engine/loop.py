"""The only training loop: steps, logs, checkpoints, evaluation, and how far it has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeVar

from torch import nn

from mplframe.checkpoint.compatible import restore
from mplframe.checkpoint.store import CheckpointStore
from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Batch
from mplframe.contracts.method import Stage, StageContext, StagePlan, TaskContext, TaskPlan
from mplframe.contracts.watching import Record, Tracker
from mplframe.engine.interrupt import Flag, Interrupted, polite_end
from mplframe.engine.meter import Meter, UnusedTerms
from mplframe.errors import UserError
from mplframe.inference.judge import Judge
from mplframe.randomness import rng_state, seed_rng, set_rng_state
from mplframe.training.network import enough_values

T = TypeVar("T")


class Pace:
    """Measures from one look to the next."""

    def __init__(self) -> None:
        self.restart(0)

    def restart(self, images: int) -> None:
        """Begin to measure now, after so many images."""
        self._start, self._images, self._waited = time.perf_counter(), images, 0.0

    def waiting(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches as they are; the time until each is there counts as waited."""
        source = iter(batches)
        while True:
            start = time.perf_counter()
            batch = next(source, None)
            self._waited += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def look(self, images: int) -> dict[str, float]:
        """`images_per_second` and `waiting`, the share of the time in [0, 1]; the next look measures from here.

        Args:
            images: learned from since the run began.
        """
        seconds = max(time.perf_counter() - self._start, 1e-9)
        found = {"images_per_second": (images - self._images) / seconds, "waiting": self._waited / seconds}
        self.restart(images)
        return found


Results = dict[str, dict[str, float]]
"""Metrics by network role."""


@dataclass
class Progress:
    """Where a run is.

    Attributes:
        stage: index of the present stage.
        step: steps of it that are done.
        total: steps of all stages that are done.
        images: labeled and unlabeled samples that were learned from.
        seconds: spent in all lives of the run.
        results: of each finished stage, by its name: each network's metrics, `seconds` and `images`.
        best: the best value so far of the metric that decides, or None.
        began_seconds: `seconds` when the present stage began.
        began_images: `images` when the present stage began.
    """

    stage: int = 0
    step: int = 0
    total: int = 0
    images: int = 0
    seconds: float = 0.0
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    best: float | None = None
    began_seconds: float = 0.0
    began_images: int = 0

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Progress:
        """Take back what `state_dict` gave."""
        return cls(**state)


@dataclass(frozen=True)
class RunStage:
    """A stage in its place in the run.

    Attributes:
        name: unique within the run.
        plan: what it does.
        context: what it is built with.
        main: whether it belongs to the method that the run is for, rather than to a baseline.
    """

    name: str
    plan: StagePlan
    context: StageContext
    main: bool


@dataclass(frozen=True)
class RunTask:
    """A task in its place in the run; attributes as of `RunStage`."""

    name: str
    plan: TaskPlan
    context: TaskContext
    main: bool


class Feed(Protocol):
    """Where the loop gets its batches."""

    def batches(self, stage: RunStage, start: int) -> Iterator[Batch]:
        """This process's share of the batches of a stage from step `start` to its end, on the host."""

    def position(self, stage: RunStage, step: int) -> dict[str, Any]:
        """Where both streams are after `step` steps, for people who read checkpoints."""


@dataclass(frozen=True)
class Choice:
    """What decides which checkpoint is the best.

    Attributes:
        judge: evaluates on the samples that are held out to choose by.
        metric: greater is better.
        role: of the network that the run is for; no other is ever the best.
    """

    judge: Judge
    metric: str
    role: str


@dataclass(frozen=True)
class Every:
    """Steps between records, evaluations and checkpoints; 0 for only at the end of a stage."""

    log: int
    evaluate: int
    save: int

    @staticmethod
    def due(every: int, step: int, steps: int) -> bool:
        """Whether it is time after `step` of `steps`."""
        return step == steps or (every > 0 and step % every == 0)


class Engine:
    """Runs stages.

    Args:
        stages: and tasks, in order.
        backend: where they run.
        feed: gives batches.
        judge: evaluates networks.
        store: keeps checkpoints.
        trackers: take records; opened and closed by the caller.
        every: when what is due.
        weights: which weights are evaluated, `ema` or `raw`.
        choice: decides which checkpoint is the best; None keeps none as such.
        identity: what a checkpoint has to have in common with this run.
        seed: of the global random generators, which only foreign components use.
        keep_artifacts: stores what a stage leaves for later ones.
        flag: raised when the run is told to stop; tasks look at it too.
    """

    def __init__(
        self,
        stages: Sequence[RunStage | RunTask],
        *,
        backend: Backend,
        feed: Feed,
        judge: Judge,
        store: CheckpointStore,
        trackers: Sequence[Tracker],
        every: Every,
        weights: str,
        choice: Choice | None,
        identity: Mapping[str, Any],
        seed: int,
        keep_artifacts: Callable[[RunStage, Mapping[str, Mapping[str, Any]]], None],
        flag: Flag,
    ) -> None:
        self.stages = stages
        self.backend = backend
        self.feed = feed
        self.judge = judge
        self.store = store
        self.trackers = trackers
        self.every = every
        self.weights = weights
        self.choice = choice
        self.identity = identity
        self.seed = seed
        self.keep_artifacts = keep_artifacts
        self.progress = Progress()
        self.meter = Meter(backend)
        self.flag = flag
        self._since = time.perf_counter()
        self._pace = Pace()
        self._unused, self._logged = UnusedTerms(), 0
        self._used: dict[str, float] = {}

    def run(self, checkpoint: Mapping[str, Any] | None = None) -> Progress:
        """Run to the end, from a checkpoint where there is one.

        Raises:
            CheckpointError: the checkpoint doesn't fit the networks.
            RunError: a loss that isn't finite, a full disk.
            Interrupted: told to stop; a checkpoint is saved.
        """
        if checkpoint is None:
            seed_rng(self.seed)
        else:
            self.progress = Progress.of(checkpoint["progress"])
            set_rng_state(checkpoint["rng"])
        self._since = time.perf_counter()
        with polite_end(self.flag) as flag:
            for index in range(self.progress.stage, len(self.stages)):
                if index > self.progress.stage:
                    self.progress.stage, self.progress.step = index, 0
                stage = self.stages[index]
                if isinstance(stage, RunTask):
                    self._run_task(stage)
                else:
                    self._run_stage(stage, checkpoint, flag)
                checkpoint = None
        self.store.writer.settle()
        self.progress.seconds = self._seconds()
        return self.progress

    def _run_stage(self, stage: RunStage, checkpoint: Mapping[str, Any] | None, flag: Flag) -> None:
        if checkpoint is not None and self.progress.step == stage.plan.steps:
            return
        live = stage.plan.build(stage.context)
        if checkpoint is not None:
            self._restore(live, checkpoint)
        else:
            self.progress.began_seconds, self.progress.began_images = self._seconds(), self.progress.images
        self._pace.restart(self.progress.images)
        self._unused, self._used, self._logged = UnusedTerms(), {}, self.progress.step
        accumulate = stage.plan.streams.accumulate
        with closing(self.feed.batches(stage, self.progress.step)) as batches:  # type: ignore[type-var]
            for batch in self._pace.waiting(batches):
                placed = [self.backend.place(part) for part in batch.split(accumulate)]
                with enough_values(stage.name):
                    self.meter.add(live.step(placed, self.progress.step))
                self.backend.mark_step()
                self._advance(stage)
                self._when_due(stage, live)
                if self.backend.any(flag.raised) and self.progress.step < stage.plan.steps:
                    self._save(stage, live)
                    self.store.writer.settle()
                    raise Interrupted(
                        f"stopped after step {self.progress.step} of {stage.name}; the same command resumes"
                    )

    def _run_task(self, task: RunTask) -> None:
        start = time.perf_counter()
        found = dict(task.plan.run(task.context))
        if "networks" in found:  # by the same judge
            found["samples"] = self.judge.samples
        self.progress.results[task.name] = {**found, "seconds": time.perf_counter() - start}

    def _advance(self, stage: RunStage) -> None:
        progress = self.progress
        progress.step += 1
        progress.total += 1
        progress.images += stage.plan.streams.images
        for tracker in self.trackers:
            tracker.progress(stage.name, progress.step, stage.plan.steps, progress.total)

    def _when_due(self, stage: RunStage, live: Stage) -> None:
        step, steps = self.progress.step, stage.plan.steps
        if Every.due(self.every.log, step, steps):
            means = self.meter.means(step)
            self._log(stage, "train", means, self._timing())
            self._watch_thresholds(means, step)
        best = False
        if Every.due(self.every.evaluate, step, steps):
            self.meter.check(step)
            best = self._evaluate(stage, live)
        if step == steps:
            artifacts = self.backend.host(live.artifacts())
            self.backend.on_main(lambda: self.keep_artifacts(stage, artifacts))
        if best or Every.due(self.every.save, step, steps):
            self._save(stage, live, best=best)

    def _watch_thresholds(self, means: Mapping[str, float], step: int) -> None:
        self._used |= {name: share for name, share in means.items() if name.endswith("_used")}
        window = step - self._logged if step > self._logged else step
        self._logged = step
        for text in self._unused.look(means, step, window=window):
            for tracker in self.trackers:
                tracker.message(text)

    def _evaluate(self, stage: RunStage, live: Stage) -> bool:
        """Evaluate every network of the stage; whether the one that the run is for is the best so far."""
        networks = live.networks(self.weights)
        results = self._judged(stage, self.judge, networks)
        best = stage.main and self._is_best(stage, networks, results)
        self._pace.restart(self.progress.images)
        if self.progress.step == stage.plan.steps:
            self.progress.results[stage.name] = {
                "networks": results,
                "samples": self.judge.samples,
                "seconds": self._seconds() - self.progress.began_seconds,
                "images": self.progress.images - self.progress.began_images,
                **({"used": self._used} if self._used else {}),
            }
        return best

    def _judged(self, stage: RunStage, judge: Judge, networks: Mapping[str, nn.Module]) -> Results:
        """Metrics of networks, logged."""
        start = time.perf_counter()
        # Every process judges; the main one's numbers count, so that all of them decide alike.
        results = self.backend.gather(judge(networks, stage.plan.streams.size))[0]
        values = {f"{role}/{name}": value for role, metrics in results.items() for name, value in metrics.items()}
        self._log(stage, judge.split, values, {"seconds": time.perf_counter() - start})
        return results

    def _is_best(self, stage: RunStage, networks: Mapping[str, nn.Module], results: Results) -> bool:
        choice = self.choice
        if choice is None or choice.role not in networks:
            return False
        if choice.judge is not self.judge:
            results = self._judged(stage, choice.judge, {choice.role: networks[choice.role]})
        metrics = results[choice.role]
        if choice.metric not in metrics:
            raise UserError(
                f"checkpoint.metric: no evaluator gives {choice.metric!r} (they give: {', '.join(metrics)})"
            )
        value = metrics[choice.metric]
        if self.progress.best is not None and value <= self.progress.best:
            return False
        self.progress.best = value
        return True

    def _save(self, stage: RunStage, live: Stage, *, best: bool = False) -> None:
        self.meter.check(self.progress.step)
        progress = self.progress.state_dict()
        progress["seconds"] = self._seconds()
        payload = {
            "identity": dict(self.identity),
            "progress": progress,
            "stage": stage.name,
            "streams": self.feed.position(stage, self.progress.step),
            "state": live.state_dict(),
            "meter": self.meter.state_dict(),
            "rng": rng_state(),
        }
        self.store.save(self.progress.total, payload, best=best)

    def _restore(self, live: Stage, checkpoint: Mapping[str, Any]) -> None:
        restore(live, checkpoint["state"])
        self.meter.load_state_dict(checkpoint["meter"])
        # Again: building the stage may have drawn from them.
        set_rng_state(checkpoint["rng"])

    def _log(self, stage: RunStage, split: str, values: Mapping[str, float], timing: Mapping[str, float]) -> None:
        record = Record(stage.name, self.progress.step, self.progress.total, split, values, timing)
        for tracker in self.trackers:
            tracker.log(record)

    def _timing(self) -> dict[str, float]:
        return {**self._pace.look(self.progress.images), "seconds": self._seconds()}

    def _seconds(self) -> float:
        return self.progress.seconds + time.perf_counter() - self._since
