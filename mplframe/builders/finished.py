"""What a finished run knows of the networks that it left."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mplframe.builders.context import image_spec, method_label
from mplframe.builders.maker import Maker
from mplframe.checkpoint.run_folder import RunFolder
from mplframe.config import load as config_files
from mplframe.config.base import ComponentConfig
from mplframe.config.resolve import resolve
from mplframe.config.run import RunConfig
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.method import Plan, PlannedNetwork, StagePlan
from mplframe.errors import CheckpointError, ConfigError, UserError, nearest

BODY = "body."
"""What the names of an architecture's own tensors begin with in an artifact."""


@dataclass(frozen=True)
class FinishedNetwork:
    """A network that a finished run left.

    Attributes:
        folder: of the run.
        method: under which the run keeps it.
        role: likewise.
        architecture: its settings.
        spec: what it takes in and gives out.
    """

    folder: RunFolder
    method: str
    role: str
    architecture: ComponentConfig
    spec: ImageSpec

    def __str__(self) -> str:
        return f"the {self.role} of {self.folder.path}"

    def weights(self) -> dict[str, Tensor]:
        """Its parameters and buffers, as the architecture names them; the average where the run kept one.

        Raises:
            CheckpointError: they aren't there, or are damaged.
        """
        kept = self.folder.artifact(self.method, self.role)
        return {name.removeprefix(BODY): value for name, value in kept.items()}


def finished_network(run: str, role: str | None, make: Maker) -> FinishedNetwork:
    """Look up a network of a finished run; no weights are read.

    Args:
        run: the run folder.
        role: such as `teacher`; None for the one that the run was for.
        make: makes components.

    Raises:
        CheckpointError: it isn't a run folder, the run hasn't finished, or its config isn't valid here.
        UserError: the run left no network of that role.
    """
    folder = _finished(Path(run).expanduser())
    config = _config(folder, make)
    plans = list(make("method", config.method).stages(make))
    networks = _left(plans)
    chosen = role or plans[-1].networks[0].role
    if chosen not in networks:
        raise UserError(f"{run} left no network {chosen!r}{nearest(chosen, networks)} (it left: {', '.join(networks)})")
    network = networks[chosen]
    classes = json.loads(folder.manifest.read_text(encoding="utf-8"))["classes"]
    method = method_label(len(config.baselines), config.method)
    return FinishedNetwork(folder, method, chosen, network.architecture, network.spec(image_spec(config, classes)))


def _finished(path: Path) -> RunFolder:
    folder = RunFolder(path)
    if not folder.config.is_file() or not folder.manifest.is_file():
        raise CheckpointError(f"{path} isn't a run folder: it has no {folder.config.name} and {folder.manifest.name}")
    if not folder.summary.is_file():
        raise CheckpointError(f"the run in {path} hasn't finished; the command that started it goes on with it")
    return folder


def _config(folder: RunFolder, make: Maker) -> RunConfig:
    try:
        config: RunConfig = resolve(RunConfig, config_files.read(folder.config), make.components.config)
    except ConfigError as error:
        raise CheckpointError(f"{folder.config} isn't valid with what is installed here: {error}") from error
    return config


def _left(plans: Sequence[Plan]) -> dict[str, PlannedNetwork]:
    """By role, as the last stage leaves each."""
    return {n.role: n for plan in plans for n in plan.networks if isinstance(plan, StagePlan) or n.given}
