"""One network in training on labeled and unlabeled views; finetuning on labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Annotated, Any, final

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import nn

from mplframe.config.base import ComponentConfig, Kind
from mplframe.contracts.batch import Batch, Metrics
from mplframe.contracts.loss import View, of_labeled
from mplframe.contracts.method import Make, Pass, Plan, PlannedNetwork, Stage, StageContext, StagePlan, Streams
from mplframe.methods.labeling import given_plan
from mplframe.methods.settings import (
    LearnerConfig,
    TrainingConfig,
    check_average,
    check_divisible,
    make_learner,
    make_objective,
)
from mplframe.training.learner import Learner
from mplframe.training.network import frozen_statistics
from mplframe.training.objective import Objective, Seen, Totals, accuracy, mean_metrics, prefixed, see


@final
class ClassifierStage(Stage):
    """Trains one network on auxiliary losses.

    Args:
        role: what the network is called in metrics and artifacts.
        learner: the network and its optimizer.
        objective: the losses.
        seed: of dropout.
        still: views that go through the network without dropout and stochastic depth, apart from the others.
    """

    def __init__(
        self,
        role: str,
        learner: Learner,
        objective: Objective,
        *,
        seed: int = 0,
        still: frozenset[View] = frozenset(),
    ) -> None:
        self.role = role
        self.learner = learner
        self.objective = objective
        self.seed = seed
        self.still = still

    def step(self, batches: Sequence[Batch], step: int) -> Metrics:
        self.learner.train()
        seen = [self._see(batches[0], step, 0)] if len(batches) == 1 else []
        totals = self.objective.totals(self._counted(batches, seen, step), self.learner.backend)
        metrics = [
            self._backward(batch, seen[0] if seen else self._see(batch, step, i), step, totals)
            for i, batch in enumerate(batches)
        ]
        rate = self.learner.set_rate(step)
        self.learner.apply(self.learner.clipped(self.learner.take_gradient()))
        return prefixed(self.role, {**mean_metrics(metrics), "lr": torch.tensor(rate)})

    def networks(self, weights: str) -> Mapping[str, nn.Module]:
        return {self.role: self.learner.evaluated(weights)}

    def artifacts(self) -> Mapping[str, Mapping[str, Any]]:
        return {self.role: self.learner.evaluated("ema").state_dict()}

    def state_dict(self) -> dict[str, Any]:
        return self.learner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.learner.load_state_dict(state)

    def _see(self, batch: Batch, step: int, micro: int) -> Seen:
        objective = self.objective
        key = (self.seed, self.role, step, micro)
        return see(self.learner, batch, objective.views, *key, alpha=objective.alpha, still=self.still)

    def _counted(self, batches: Sequence[Batch], seen: Sequence[Seen], step: int) -> list[Metrics]:
        """What relative losses use of each micro-batch. Of several the forwards are made twice, since the graphs of all
        don't fit: with the same random numbers, and without counting statistics twice."""
        if not self.objective.relative:
            return [{}] * len(batches)
        if not seen:
            with torch.no_grad(), frozen_statistics(self.learner.module):
                seen = [self._see(batch, step, micro) for micro, batch in enumerate(batches)]
        steps = self.learner.steps
        return [self.objective.counted(s.inputs(batch, step, steps)) for s, batch in zip(seen, batches, strict=True)]

    def _backward(self, batch: Batch, seen: Seen, step: int, totals: Totals) -> Metrics:
        assert batch.labeled.labels is not None
        loss, metrics = self.objective(seen.inputs(batch, step, self.learner.steps), totals)
        (loss / totals.parts).backward()  # type: ignore[no-untyped-call]
        metrics["loss"] = loss.detach()
        for view in ("labeled", "labeled_strong"):
            if view in seen.logits:
                metrics["accuracy"] = accuracy(seen.logits[view], batch.labeled.labels)
                break
        return metrics


@dataclass(frozen=True)
class BatchSizes:
    """Samples of a step: of the labeled stream, of the unlabeled, and the micro-batches they are cut into."""

    labeled: int
    unlabeled: int = 0
    accumulate: int = 1

    def of(self, view: View) -> int:
        """Samples in one view."""
        return self.labeled if of_labeled(view) else self.unlabeled

    def learned(self, views: Set[View]) -> int:
        """Samples that a learning rate is for where losses look at these views; see `TrainingConfig.lr_per`."""
        return self.labeled if any(map(of_labeled, views)) else self.unlabeled

    def passes(self, role: str, views: Set[View]) -> list[Pass]:
        """What a step that looks at these views computes."""
        trained = sum(self.of(view) for view in views if view != "weak_averaged")
        passes = [Pass(role, trained, True)]
        return [*passes, Pass(role, self.unlabeled, False)] if "weak_averaged" in views else passes


def classifier_plan(
    name: str,
    role: str,
    config: LearnerConfig,
    objective: Objective,
    *,
    steps: int,
    sizes: BatchSizes,
    size: int | None = None,
    start_from: str | None = None,
    still: frozenset[View] = frozenset(),
) -> StagePlan:
    """The plan of a stage that trains one network.

    Args:
        name: of the stage.
        role: of the network.
        config: the network and its training.
        objective: what it is trained on.
        steps: how many.
        sizes: of a step's batches.
        size: height and width of the images, in training and evaluation; None for the run's own.
        start_from: role of an earlier stage's network whose weights it begins with.
        still: see `ClassifierStage`.
    """

    batch = sizes.learned(objective.views)

    def build(context: StageContext) -> Stage:
        learner = make_learner(context, config, role, steps, batch=batch, size=size)
        if start_from is not None:
            learner.start_from(context.artifact(start_from))
        return ClassifierStage(role, learner, objective, seed=context.seed, still=still)

    streams = Streams(sizes.labeled, sizes.unlabeled, views=objective.views, accumulate=sizes.accumulate, size=size)
    check_average(objective.views, config)
    networks = (config.planned(role, batch=batch, size=size),)
    return StagePlan(name, steps, streams, networks, sizes.passes(role, objective.views), build)


def teacher_plan(
    role: str,
    config: LearnerConfig,
    objective: Objective,
    *,
    steps: int,
    sizes: BatchSizes,
    size: int | None = None,
) -> Plan:
    """The stage that trains a teacher, named like its role; with no steps, the task that takes it as it is given.

    Args:
        role, config, objective, steps, sizes, size: as of `classifier_plan`.
    """
    if steps == 0:
        return given_plan(role, PlannedNetwork(role, config.network, optimizer=None, size=size, given=True))
    return classifier_plan(role, role, config, objective, steps=steps, sizes=sizes, size=size)


class FinetuneConfig(TrainingConfig):
    """Finetuning of the student on labeled samples (MPL v4, section 3.2: SGD, learning rate 1e-5, 1,000 steps of 512).

    Attributes:
        steps: how many.
        batch: labeled samples of a step.
        accumulate: micro-batches that a step is cut into.
        losses: what it is finetuned on.
    """

    steps: PositiveInt = 1000
    batch: PositiveInt = 512
    accumulate: PositiveInt = 1
    schedule: Annotated[ComponentConfig, Kind("schedule")] = ComponentConfig(name="constant")
    losses: Annotated[tuple[ComponentConfig, ...], Kind("loss"), Field(min_length=1)] = (
        ComponentConfig(name="supervised"),
    )

    @model_validator(mode="after")
    def _divisible(self) -> FinetuneConfig:
        check_divisible(self.accumulate, batch=self.batch)
        return self


def finetune_plan(
    config: FinetuneConfig,
    network: ComponentConfig,
    make: Make,
    *,
    role: str = "student",
    name: str = "finetune",
    size: int | None = None,
) -> StagePlan:
    """The plan of the stage.

    Args:
        config: its settings.
        network: the student's architecture.
        make: gives the live component behind a config.
        role: of the network, under which an earlier stage left its weights.
        name: of the stage.
        size: height and width of the images; None for the run's own.
    """
    training = {name: getattr(config, name) for name in TrainingConfig.model_fields}
    return classifier_plan(
        name,
        role,
        LearnerConfig(network=network, **training),
        make_objective(make, config.losses),
        steps=config.steps,
        sizes=BatchSizes(config.batch, accumulate=config.accumulate),
        size=size,
        start_from=role,
    )
