"""Everything live that a run needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mplframe.builders.context import Context, image_spec, run_stages
from mplframe.builders.feed import DataFeed, RunSplitName, check_shares
from mplframe.builders.maker import Maker
from mplframe.checkpoint.run_folder import RunFolder
from mplframe.checkpoint.store import CheckpointStore
from mplframe.config.run import RunConfig
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.backend import Backend
from mplframe.contracts.data import DatasetSource
from mplframe.contracts.method import PlannedNetwork
from mplframe.contracts.watching import Tracker
from mplframe.data.identity import fingerprint
from mplframe.engine.interrupt import Flag
from mplframe.engine.loop import Choice, Engine, Every, RunStage, RunTask
from mplframe.inference.judge import Judge
from mplframe.inference.scoring import check_tagged
from mplframe.plugins import Components

JUDGING: tuple[RunSplitName, ...] = ("test", "holdout")
FREE_INPUT = frozenset({"workers", "prefetch", "prefetch_mb", "max_damaged"})
"""Settings of the input that a resumed run may change: they change no batch."""


@dataclass(frozen=True)
class Run:
    """Everything live that a run needs."""

    config: RunConfig
    backend: Backend
    source: DatasetSource
    spec: ImageSpec
    stages: Sequence[RunStage | RunTask]
    flag: Flag
    streams: DataFeed
    judge: Judge
    chooser: Judge
    trackers: Sequence[Tracker]

    @property
    def training(self) -> list[RunStage]:
        """The stages without the tasks between them."""
        return [stage for stage in self.stages if isinstance(stage, RunStage)]

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint has to have in common with this run; where and how fast it runs doesn't matter."""
        config = self.config.dump()
        own = {key: config[key] for key in ("seed", "method", "baselines", "input")}
        own["input"] = {k: v for k, v in own["input"].items() if k not in FREE_INPUT}
        data = {name: self.streams.split(name) for name in self._trained_on()}
        return {
            **own,
            "samples": {name: len(split) for name, split in data.items()},
            # What judges isn't among it: a run may be judged on other samples than before.
            "content": {name: fingerprint(split, labels=name == "labeled") for name, split in data.items()},
            "classes": list(self.source.classes),
            **({} if self.streams.manifest is None else {"manifest": self.streams.manifest.digest}),
        }

    def open_data(self) -> None:
        """Open every split that will be needed, so that what is missing is known before anything is done.

        Raises:
            DataError: a split is missing, empty or damaged.
            UserError: the processes can't share a stage's batches equally, or a task needs tags and there are none.
        """
        check_shares(self.training, self.backend.world)
        for name in (*self._trained_on(), self.config.evaluation.split):
            self.streams.split(name)
        tags = any(isinstance(stage, RunTask) and stage.plan.tags for stage in self.stages)
        if tags:
            check_tagged(self.streams.split("unlabeled"))

    def engine(self, folder: RunFolder, store: CheckpointStore) -> Engine:
        """The loop over this run's stages."""
        config = self.config

        def keep_artifacts(stage: RunStage, artifacts: Mapping[str, Mapping[str, Any]]) -> None:
            assert isinstance(stage.context, Context)
            for role, state in artifacts.items():
                folder.keep_artifact(stage.context.method, role, state)

        return Engine(
            self.stages,
            backend=self.backend,
            feed=self.streams,
            judge=self.judge,
            store=store,
            trackers=self.trackers,
            every=Every(config.log_every, config.evaluation.every, config.checkpoint.every),
            weights=config.evaluation.weights,
            choice=self.choice,
            identity=self.identity,
            seed=config.seed,
            keep_artifacts=keep_artifacts,
            flag=self.flag,
        )

    @property
    def role(self) -> str:
        """Of the network that the run is for."""
        return self.training[-1].plan.networks[0].role

    @property
    def choice(self) -> Choice | None:
        """What decides which checkpoint is the best; None where none is kept as such."""
        return Choice(self.chooser, self.config.checkpoint.metric, self.role) if self.streams.chooses else None

    def left(self, folder: RunFolder) -> dict[str, tuple[RunStage | RunTask, PlannedNetwork]]:
        """Networks whose final weights the run folder keeps, by role, with the last stage that left each.

        Those of a baseline go by the name of its stage, such as `supervised`; further ones of it by `uda/teacher`.
        """
        found: dict[str, tuple[RunStage | RunTask, PlannedNetwork]] = {}
        for stage in self.stages:
            assert isinstance(stage.context, Context)
            for number, network in enumerate(stage.plan.networks):
                made = isinstance(stage, RunStage) or network.given
                if not made or network.distributions or not folder.keeps(stage.context.method, network.role):
                    continue
                other = stage.name if number == 0 else f"{stage.name}/{network.role}"
                found[network.role if stage.main else other] = (stage, network)
        return found

    def _trained_on(self) -> list[RunSplitName]:
        unlabeled = any(isinstance(stage, RunTask) or stage.plan.streams.unlabeled for stage in self.stages)
        return ["labeled", "unlabeled"] if unlabeled else ["labeled"]


def build_run(
    config: RunConfig,
    components: Components,
    folder: RunFolder | None = None,
    *,
    data_from: DatasetSource | None = None,
) -> Run:
    """Everything live, from a resolved config. Opens no data yet.

    Args:
        config: resolved.
        components: what its names refer to.
        folder: of the run.
        data_from: instead of the dataset that the config names.
    """
    make = Maker(components)
    source: DatasetSource = data_from or make("dataset", config.data)
    spec = image_spec(config, source.classes)
    backend: Backend = make("backend", config.backend)
    streams = DataFeed(config, source, make, backend)
    trackers = [make("tracker", c) for c in config.trackers] if backend.main else []
    flag = Flag()
    shared = {
        "backend": backend,
        "spec": spec,
        "seed": config.seed,
        "normalisation": config.input.normalisation,
        "run_folder": folder,
    }
    evaluators = [make("evaluator", c) for c in config.evaluation.evaluators]
    judges = {
        name: Judge(backend, partial(streams.judged_batches, name), evaluators, spec.classes, split=name)
        for name in JUDGING
    }
    judge = judges[config.evaluation.split]
    data = {"streams": streams, "evaluation": judge, "flag": flag, "trackers": trackers}
    return Run(
        config=config,
        backend=backend,
        source=source,
        spec=spec,
        stages=run_stages(config, make, shared, data),
        flag=flag,
        streams=streams,
        judge=judge,
        chooser=judges["holdout"],
        trackers=trackers,
    )
