"""What stages are built with, and the stages of a run in their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mplframe.builders.maker import Maker
from mplframe.checkpoint.run_folder import RunFolder
from mplframe.config.base import ComponentConfig
from mplframe.config.run import RunConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.contracts.backend import Backend
from mplframe.contracts.data import DatasetSource
from mplframe.contracts.lookahead import Lookahead
from mplframe.contracts.method import StagePlan
from mplframe.engine.loop import RunStage
from mplframe.errors import CheckpointError, UserError
from mplframe.learners.learner import find_lookahead
from mplframe.learners.network import Network
from mplframe.learners.randomness import seeded


@dataclass(frozen=True)
class Context:
    """What a stage is built with; see `mplframe.contracts.method.StageContext`."""

    backend: Backend
    spec: ImageSpec
    seed: int
    method: str
    make: Maker
    normalisation: tuple[tuple[float, ...], tuple[float, ...]]
    folder: RunFolder | None = None

    def network(self, config: ComponentConfig, role: str) -> nn.Module:
        architecture: Architecture = self.make("architecture", config)
        with seeded(torch.device("cpu"), self.seed, "init", role):
            body = architecture.build(self.spec)
        return self.backend.prepare(Network(body, *self.normalisation))

    def lookahead(self, optimizer: torch.optim.Optimizer) -> Lookahead:
        registry = self.make.components["lookahead"]
        # Ours first: a plugin's is imported only for an optimizer that none of ours describes.
        names = sorted((entry.origin != "mplframe", entry.name) for entry in registry if entry.name != "measured")
        return find_lookahead(optimizer, (registry.get(name)() for _, name in names))

    def artifact(self, role: str) -> Mapping[str, Any]:
        if self.folder is None:
            raise CheckpointError(f"there is no run folder to take the network {role!r} from")
        return self.folder.artifact(self.method, role)


def image_spec(config: RunConfig, source: DatasetSource) -> ImageSpec:
    """What networks take in and give out.

    Raises:
        UserError: fewer than two classes.
    """
    classes = len(source.classes)
    if classes < 2:
        raise UserError(f"data: {classes} class(es) given; a classifier needs at least two")
    return ImageSpec(config.input.size, config.input.channels, classes)


def check_schedules(plan: StagePlan, make: Maker) -> None:
    """See that the schedules of a stage fit its steps, before the stages ahead of it have taken their time.

    Raises:
        UserError: one doesn't; names the stage and the network.
    """
    for network in plan.networks:
        if network.schedule is None:
            continue
        try:
            make("schedule", network.schedule).at(0, plan.steps)
        except UserError as error:
            raise UserError(f"stage {plan.name}, {network.role}: {error}") from error


def run_stages(config: RunConfig, make: Maker, context: Mapping[str, Any]) -> list[RunStage]:
    """The stages of all baselines and of the method, with names that are unique in the run.

    Args:
        config: of the run.
        make: makes components.
        context: fields of `Context` that all stages share.

    Raises:
        UserError: a plan that can't be carried out, such as a warm-up longer than its stage.
    """
    stages: list[RunStage] = []
    taken: set[str] = set()
    for position, method in enumerate([*config.baselines, config.method]):
        label = f"{position}-{method.name}"
        for plan in make("method", method).stages(make):
            check_schedules(plan, make)
            name = plan.name if plan.name not in taken else f"{plan.name}-{position}"
            taken.add(name)
            main = position == len(config.baselines)
            stages.append(RunStage(name, plan, Context(method=label, make=make, **context), main))
    return stages
