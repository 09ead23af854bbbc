"""What stages are built with, and the stages of a run in their places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mplframe.builders.feed import DataFeed
from mplframe.builders.maker import Maker
from mplframe.checkpoint.run_folder import RunFolder
from mplframe.config.base import ComponentConfig
from mplframe.config.run import RunConfig
from mplframe.contracts.architecture import Architecture, ImageSpec, check_input
from mplframe.contracts.backend import Backend
from mplframe.contracts.data import EvaluationBatch, Split, SplitName
from mplframe.contracts.method import Plan, PlannedNetwork, StagePlan, TaskPlan
from mplframe.contracts.optimizer import Lookahead
from mplframe.contracts.watching import Tracker
from mplframe.engine.interrupt import Flag
from mplframe.engine.loop import RunStage, RunTask
from mplframe.errors import CheckpointError, UserError
from mplframe.inference.judge import Judge
from mplframe.randomness import seeded
from mplframe.training.learner import find_lookahead
from mplframe.training.network import Network, freeze


@dataclass(frozen=True)
class Context:
    """What a stage is built with; see `mplframe.contracts.method.StageContext`.

    Attributes:
        restoring: the stage is about to be given the weights of a checkpoint, so that others needn't be read.
    """

    backend: Backend
    spec: ImageSpec
    seed: int
    method: str
    make: Maker
    normalisation: tuple[tuple[float, ...], tuple[float, ...]]
    run_folder: RunFolder | None
    restoring: bool = field(default=False, kw_only=True)

    def network(
        self,
        config: ComponentConfig,
        role: str,
        *,
        distributions: bool = False,
        size: int | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> nn.Module:
        architecture: Architecture = self.make("architecture", config)
        if self.restoring or state is not None:
            architecture = architecture.untrained()
        spec = replace(self.spec, size=size or self.spec.size)
        with seeded(self.seed, "init", role):
            body = architecture.build(spec.of_distributions if distributions else spec)
        network = Network(body, *self.normalisation)
        if state is not None:
            network.load_state_dict(state)
        return self.backend.prepare(network)

    def lookahead(self, optimizer: torch.optim.Optimizer) -> Lookahead:
        registry = self.make.components["lookahead"]
        # Ours first: a plugin's is imported only for an optimizer that none of ours describes.
        names = sorted((entry.origin != "mplframe", entry.name) for entry in registry if entry.name != "measured")
        return find_lookahead(optimizer, (registry.get(name)() for _, name in names))

    def folder(self, name: str) -> Path:
        if self.run_folder is None:
            raise CheckpointError(f"there is no run folder to keep {name!r} in")
        return self.run_folder.artifact_folder(self.method, name)

    def artifact(self, role: str) -> Mapping[str, Any]:
        if self.run_folder is None:
            raise CheckpointError(f"there is no run folder to take the network {role!r} from")
        return self.run_folder.artifact(self.method, role)


@dataclass(frozen=True)
class ContextWithData(Context):
    """What a task is given; see `mplframe.contracts.method.TaskContext`."""

    streams: DataFeed
    evaluation: Judge
    flag: Flag
    trackers: Sequence[Tracker]

    def split(self, name: SplitName) -> Split:
        return self.streams.to_label() if name == "unlabeled" else self.streams.split(name)

    def copies(self) -> Sequence[str]:
        split = self.streams.to_label()
        return [split.key(number) for number in self.streams.copies["unlabeled"].tolist()]

    def labeled_keys(self) -> Sequence[str]:
        split = self.streams.all_labeled()
        return [split.key(number) for number in range(len(split))]

    def inputs(
        self, split: Split, numbers: range, *, augmented: bool = False, size: int | None = None
    ) -> Iterator[EvaluationBatch]:
        return self.streams.inputs(split, size, numbers, augmented=augmented)

    def judge(self, networks: Mapping[str, nn.Module], size: int | None = None) -> dict[str, dict[str, float]]:
        return self.backend.gather(self.evaluation(networks, size))[0]

    def keep(self, role: str, state: Mapping[str, Any]) -> None:
        if self.run_folder is None:
            raise CheckpointError(f"there is no run folder to keep the network {role!r} in")
        folder, kept = self.run_folder, self.backend.host(state)
        self.backend.on_main(lambda: folder.keep_artifact(self.method, role, kept))

    def check(self) -> None:
        self.flag.check()

    def tell(self, text: str) -> None:
        for tracker in self.trackers:
            tracker.message(text)


def image_spec(config: RunConfig, classes: Sequence[str]) -> ImageSpec:
    """What networks take in and give out.

    Args:
        config: of the run.
        classes: names, in index order.

    Raises:
        UserError: fewer than two classes.
    """
    if len(classes) < 2:
        raise UserError(f"data: {len(classes)} class(es) given; a classifier needs at least two")
    return ImageSpec(
        config.input.size,
        config.input.channels,
        len(classes),
        None if config.input.clip is None else config.input.clip.frames,
        names=tuple(classes),
        normalisation=config.input.normalisation,
    )


def check_stage(plan: Plan, make: Maker, spec: ImageSpec) -> None:
    """See that the settings of a stage's networks fit, before the stages ahead of it have taken their time.

    Raises:
        UserError: a schedule doesn't fit the steps, a network takes clips and is given images or the reverse, a
            parameter to be frozen isn't there, or a network that no stage trains begins untrained; names stage and
            network.
    """
    for network in plan.networks:
        try:
            if network.schedule is not None and isinstance(plan, StagePlan):
                make("schedule", network.schedule).at(0, plan.steps)
            _check_network(network, make("architecture", network.architecture), network.spec(spec))
        except UserError as error:
            raise UserError(f"stage {plan.name}, {network.role}: {error}") from error


def _check_network(network: PlannedNetwork, architecture: Architecture, spec: ImageSpec) -> None:
    check_input(architecture, spec, name=network.architecture.name)
    trained = architecture.trained(spec)
    if network.given and not trained:
        raise UserError(
            f"it has no steps to learn in, but the network {network.architecture.name!r} begins untrained; give it "
            "steps, or a network that has learned, such as {name: trained, run: runs/teacher}"
        )
    if network.freeze:
        with torch.device("meta"):
            freeze(Network(architecture.build(spec), (0.0,), (1.0,)), network.freeze)


def method_label(position: int, method: ComponentConfig) -> str:
    """What the run folder keeps the artifacts of a method under, which comes after so many others."""
    return f"{position}-{method.name}"


def run_stages(
    config: RunConfig, make: Maker, context: Mapping[str, Any], data: Mapping[str, Any]
) -> list[RunStage | RunTask]:
    """The stages and tasks of all baselines and of the method, with names that are unique in the run.

    Args:
        config: of the run.
        make: makes components.
        context: fields of `Context` that all stages share.
        data: fields that `ContextWithData` has beyond these.

    Raises:
        UserError: a plan that can't be carried out, such as a warm-up longer than its stage.
    """
    stages: list[RunStage | RunTask] = []
    taken: set[str] = set()
    for position, method in enumerate([*config.baselines, config.method]):
        label = method_label(position, method)
        for plan in make("method", method).stages(make):
            check_stage(plan, make, context["spec"])
            name = plan.name if plan.name not in taken else f"{plan.name}-{position}"
            taken.add(name)
            main = position == len(config.baselines)
            own = {"method": label, "make": make, **context}
            if isinstance(plan, TaskPlan):
                stages.append(RunTask(name, plan, ContextWithData(**own, **data), main))
            else:
                shared = replace(plan, streams=plan.streams.shared_by(context["backend"].world))
                stages.append(RunStage(name, shared, Context(**own), main))
    return stages
