"""Networks of a finished or stopped run, taken from its folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from mplframe.api.configs import components
from mplframe.backends.ddp import ProcessesConfig
from mplframe.backends.processes import launched
from mplframe.backends.single import LocalConfig, Single
from mplframe.builders import Context, Maker, Run, StoredConfig, build_run
from mplframe.checkpoint.compatible import restore
from mplframe.checkpoint.format import load as load_checkpoint
from mplframe.checkpoint.run_folder import RunFolder, find_checkpoint
from mplframe.checkpoint.store import BEST
from mplframe.config.run import RunConfig
from mplframe.engine.loop import RunStage
from mplframe.errors import CheckpointError, UserError, nearest
from mplframe.plugins import Components


@dataclass(frozen=True)
class Trained:
    """Networks taken from a checkpoint.

    Attributes:
        live: the run that they belong to.
        networks: by role; the first is the one that the stage was for.
        stage: name of the stage.
        step: steps of it that were done.
        size: height and width of their images; None for the run's own.
        chosen: the split, the role and the metric that a best checkpoint was chosen by; None for others.
    """

    live: Run
    networks: Mapping[str, nn.Module]
    stage: str
    step: int
    size: int | None
    chosen: Mapping[str, Any] | None = None

    @property
    def classes(self) -> Sequence[str]:
        """Class names in index order."""
        return self.live.source.classes

    def only(self, role: str | None) -> Trained:
        """The same with one network, or with all where none is named; errors as of `network`."""
        return self if role is None else replace(self, networks=dict([self.network(role)]))

    def network(self, role: str | None) -> tuple[str, nn.Module]:
        """A network and its role; the one that the stage was for by default.

        Raises:
            UserError: there is none of that role.
        """
        name = role or next(iter(self.networks))
        if name not in self.networks:
            raise UserError(
                f"no network is named {name!r}{nearest(name, self.networks)} (there are: {', '.join(self.networks)})"
            )
        return name, self.networks[name]


def load_trained(
    target: str | Path,
    *,
    checkpoint: str = "last",
    role: str | None = None,
    overrides: Sequence[str] = (),
    trust: bool = False,
    installed: Components | None = None,
) -> Trained:
    """The networks of a run, with the weights that it evaluates.

    Args:
        target: a run folder, or one of its checkpoints.
        checkpoint: of a run folder: `last` or `best`.
        role: a network that the checkpoint may lack, which an earlier stage or a baseline has left: a baseline's is
            called as the stage, such as `supervised`. It has its final weights, averaged where an average is kept.
        overrides: changes to the run's configuration, such as `data.test=URL`.
        trust: settings that the run folder keeps may name functions, URLs and files outside it, though no run of the
            user's wrote them.
        installed: what names may refer to.

    Raises:
        CheckpointError: there is no such checkpoint, or it doesn't fit the run's configuration.
        UserError: the configuration leads out of the run folder, and isn't trusted.
        UserError: the run has no network of that role; says which it has.
    """
    path = find_checkpoint(Path(target), checkpoint)
    folder = RunFolder(path.resolve().parent.parent)
    if not folder.config.exists():
        raise CheckpointError(f"{path} isn't in a run folder: there is no {folder.config}")
    found = installed or components()
    stored = StoredConfig(folder, Maker(found), overrides=overrides, trust=trust)
    stored.check_network()
    config = _where_it_can(stored.config)
    live = build_run(config, found, folder, data_from=stored.source())
    payload = load_checkpoint(path)
    stage = next((stage for stage in live.training if stage.name == payload["stage"]), None)
    if stage is None:
        raise CheckpointError(f"{path} is of the stage {payload['stage']!r}, which the configuration doesn't have")
    assert isinstance(stage.context, Context)
    built = stage.plan.build(replace(stage.context, restoring=True))
    restore(built, payload["state"])
    networks, done = built.networks(config.evaluation.weights), int(payload["progress"]["step"])
    if role is not None and role not in networks:
        return _left(live, folder, role, networks)
    chosen = None
    if path.name == BEST:
        metric = config.checkpoint.metric
        chosen = {"split": "holdout", "role": live.role, metric: payload["progress"]["best"]}
    return Trained(live, networks, stage.name, done, stage.plan.streams.size, chosen)


def _left(live: Run, folder: RunFolder, role: str, others: Iterable[str]) -> Trained:
    """A network that an earlier stage left in the run folder."""
    found = live.left(folder)
    if role not in found:
        names = list(dict.fromkeys([*others, *found]))
        raise UserError(f"no network is named {role!r}{nearest(role, names)} (the run has: {', '.join(names)})")
    stage, network = found[role]
    assert isinstance(stage.context, Context)
    state = stage.context.artifact(network.role)
    built = stage.context.network(network.architecture, network.role, size=network.size, state=state)
    steps = stage.plan.steps if isinstance(stage, RunStage) else 0
    size = stage.plan.streams.size if isinstance(stage, RunStage) else network.size
    return Trained(live, {role: built}, stage.name, steps, size)


def _where_it_can(config: RunConfig) -> RunConfig:
    """The configuration of a run of several processes for this one alone, where torchrun didn't start it."""
    if not isinstance(config.backend, ProcessesConfig) or launched():
        return config
    own = config.backend.model_dump(include=set(LocalConfig.model_fields) - {"name"})
    return config.model_copy(update={"backend": Single.Config(**own)})
