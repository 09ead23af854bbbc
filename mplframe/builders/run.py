"""Everything live that a run needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from mplframe.contracts.watching import Tracker
from mplframe.engine.interrupt import Flag
from mplframe.engine.loop import Engine, Every, RunStage, RunTask
from mplframe.inference.judge import Judge
from mplframe.inference.scoring import check_tagged
from mplframe.plugins import Components

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
        splits = {stage: self.streams.split(stage) for stage in self._split_names()}
        return {
            **own,
            "samples": {name: len(split) for name, split in splits.items()},
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
        for name in self._split_names():
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
            metric=config.checkpoint.metric if config.checkpoint.keep_best else None,
            identity=self.identity,
            seed=config.seed,
            keep_artifacts=keep_artifacts,
            flag=self.flag,
        )

    def _split_names(self) -> list[RunSplitName]:
        unlabeled = any(isinstance(stage, RunTask) or stage.plan.streams.unlabeled for stage in self.stages)
        return ["labeled", *(["unlabeled"] if unlabeled else []), self.config.evaluation.split]  # type: ignore[list-item]


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
    judge = Judge(backend, streams.judged_batches, evaluators, spec.classes, split=config.evaluation.split)
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
        trackers=trackers,
    )
