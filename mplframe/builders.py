"""Config in, live objects out: the only module that joins everything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from mplframe.checkpoint.run_folder import RunFolder
from mplframe.checkpoint.store import CheckpointStore
from mplframe.config import load as config_files
from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.config.resolve import kind_of, resolve
from mplframe.config.run import RunConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Batch
from mplframe.contracts.data import DatasetSource, Split, SplitName
from mplframe.contracts.lookahead import Lookahead
from mplframe.contracts.method import Stage
from mplframe.contracts.tracker import Tracker
from mplframe.data.loader import Loader
from mplframe.data.readers.folder import unlabeled_folder
from mplframe.data.readers.split import ReaderSplit
from mplframe.data.shards import WebDataset
from mplframe.data.stream import Stream, evaluation_batches
from mplframe.engine.judge import Judge
from mplframe.engine.loop import Engine, Every, RunStage
from mplframe.errors import CheckpointError, DataError, MplframeError, PluginError, UserError
from mplframe.learners.learner import find_lookahead
from mplframe.learners.network import Network
from mplframe.learners.randomness import seeded
from mplframe.plugins import Components


class Maker:
    """Makes components from their configs, collaborators first.

    A component's constructor is called with its config and, by field name, with the live components behind those
    fields of its config that are marked with a kind. Methods get their config alone and make what they need.
    """

    def __init__(self, components: Components) -> None:
        self.components = components

    def __call__(self, kind: str, config: ComponentConfig) -> Any:
        """The live component.

        Raises:
            PluginError: a third party's constructor failed; names the plugin.
        """
        cls = self.components.get(kind, config.name)
        collaborators = {} if kind == "method" else self._collaborators(config)
        try:
            return cls(config, **collaborators)
        except MplframeError:
            raise
        except Exception as error:
            origin = next((e.origin for e in self.components[kind] if e.name == config.name), "")
            if origin == "mplframe":
                raise
            raise PluginError(
                f"the {kind} {config.name!r} of plugin {origin!r} failed to start: {type(error).__name__}: {error}"
            ) from error

    def _collaborators(self, config: ComponentConfig) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in type(config).model_fields.items():
            kind, value = kind_of(field), getattr(config, name)
            if kind is not None and value is not None:
                found[name] = tuple(self(kind, v) for v in value) if isinstance(value, tuple) else self(kind, value)
        return found


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
        return find_lookahead(optimizer, [registry.get(n)() for n in registry.names() if n != "measured"])

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


def run_stages(config: RunConfig, make: Maker, context: Mapping[str, Any]) -> list[RunStage]:
    """The stages of all baselines and of the method, with names that are unique in the run.

    Args:
        config: of the run.
        make: makes components.
        context: fields of `Context` that all stages share.
    """
    stages: list[RunStage] = []
    taken: set[str] = set()
    for position, method in enumerate([*config.baselines, config.method]):
        label = f"{position}-{method.name}"
        for plan in make("method", method).stages(make):
            name = plan.name if plan.name not in taken else f"{plan.name}-{position}"
            taken.add(name)
            main = position == len(config.baselines)
            stages.append(RunStage(name, plan, Context(method=label, make=make, **context), main))
    return stages


class Streams:
    """Batches for every stage, from one dataset source.

    Args:
        config: of the run.
        source: the dataset.
        make: makes augmentations.
        backend: whose rank and world share the global batches.
    """

    def __init__(self, config: RunConfig, source: DatasetSource, make: Maker, backend: Backend) -> None:
        self.config = config
        self.source = source
        self.backend = backend
        self._weak = [make("augmentation", c) for c in config.input.weak]
        self._strong = [make("augmentation", c) for c in config.input.strong]
        self._splits: dict[str, Split] = {}

    def split(self, name: SplitName) -> Split:
        """A split of the source, opened once.

        Raises:
            DataError: the source has none of that name, or it is empty.
        """
        if name not in self._splits:
            found = self.source.split(name)
            if found is None:
                raise DataError(
                    f"the method needs {name} samples and the dataset {self.config.data.name!r} gives none; "
                    f"set data.{name}"
                )
            if len(found) == 0:
                raise DataError(f"the {name} split of the dataset {self.config.data.name!r} has no samples")
            self._splits[name] = found
        return self._splits[name]

    def batches(self, stage: RunStage, start: int) -> Iterator[Batch]:
        """See `mplframe.engine.loop.Feed`."""
        streams = stage.plan.streams
        loader = Loader(
            self._stream(stage, "labeled", streams.labeled),
            self._stream(stage, "unlabeled", streams.unlabeled) if streams.unlabeled else None,
            workers=self.config.input.workers,
            prefetch=self.config.input.prefetch,
            pin=self.backend.device.type == "cuda",
        )
        return loader.batches(start, stage.plan.steps)

    def position(self, stage: RunStage, step: int) -> dict[str, Any]:
        """See `mplframe.engine.loop.Feed`."""
        sizes: dict[SplitName, int] = {"labeled": stage.plan.streams.labeled, "unlabeled": stage.plan.streams.unlabeled}
        return {
            name: {"samples": step * size, "epochs": step * size / len(self.split(name))}
            for name, size in sizes.items()
            if size
        }

    def test_batches(self) -> Iterable[tuple[Tensor, Tensor, Sequence[str]]]:
        """A fresh pass over the test split."""
        settings = self.config.input
        return evaluation_batches(
            self.split("test"),
            batch_size=self.config.evaluation.batch_size,
            size=settings.size,
            channels=settings.channels,
            fit=settings.fit,
            eval_crop=settings.eval_crop,
            workers=settings.workers,
        )

    def _stream(self, stage: RunStage, name: SplitName, batch: int) -> Stream:
        settings = self.config.input
        return Stream(
            self.split(name),
            name=f"{stage.name}/{name}",
            seed=self.config.seed,
            batch=batch,
            size=settings.size,
            channels=settings.channels,
            fit=settings.fit,
            weak=self._weak,
            strong=self._strong,
            want_strong=stage.plan.streams.strong,
            rank=self.backend.rank,
            world=self.backend.world,
        )


@dataclass(frozen=True)
class Run:
    """Everything live that a run needs."""

    config: RunConfig
    backend: Backend
    source: DatasetSource
    spec: ImageSpec
    stages: Sequence[RunStage]
    streams: Streams
    judge: Judge
    trackers: Sequence[Tracker]

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint has to have in common with this run; where and how fast it runs doesn't matter."""
        config = self.config.dump()
        own = {key: config[key] for key in ("seed", "method", "baselines", "input")}
        own["input"] = {k: v for k, v in own["input"].items() if k not in ("workers", "prefetch")}
        splits = {stage: self.streams.split(stage) for stage in self._split_names()}
        return {
            **own,
            "samples": {name: len(split) for name, split in splits.items()},
            "classes": list(self.source.classes),
        }

    def open_data(self) -> None:
        """Open every split that will be needed, so that what is missing is known before anything is done.

        Raises:
            DataError: a split is missing, empty or damaged.
        """
        for name in self._split_names():
            self.streams.split(name)

    def engine(self, folder: RunFolder, store: CheckpointStore) -> Engine:
        """The loop over this run's stages."""
        config = self.config

        def keep_artifacts(stage: RunStage, live: Stage) -> None:
            assert isinstance(stage.context, Context)
            for role, state in live.artifacts().items():
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
        )

    def _split_names(self) -> list[SplitName]:
        unlabeled = any(stage.plan.streams.unlabeled for stage in self.stages)
        return ["labeled", *(["unlabeled"] if unlabeled else []), "test"]  # type: ignore[list-item]


def build_run(config: RunConfig, components: Components, folder: RunFolder | None = None) -> Run:
    """Everything live, from a resolved config. Opens no data yet."""
    make = Maker(components)
    source: DatasetSource = make("dataset", config.data)
    spec = image_spec(config, source)
    backend: Backend = make("backend", config.backend)
    streams = Streams(config, source, make, backend)
    shared = {
        "backend": backend,
        "spec": spec,
        "seed": config.seed,
        "normalisation": config.input.normalisation,
        "folder": folder,
    }
    evaluators = [make("evaluator", c) for c in config.evaluation.evaluators]
    return Run(
        config=config,
        backend=backend,
        source=source,
        spec=spec,
        stages=run_stages(config, make, shared),
        streams=streams,
        judge=Judge(backend, streams.test_batches, evaluators, spec.classes),
        trackers=[make("tracker", c) for c in config.trackers],
    )


def open_images(where: str, classes: Sequence[str]) -> Split:
    """Images to classify: a folder of image files at any depth, or shards by URL.

    Raises:
        DataError: nothing is there.
    """
    path = Path(where)
    if path.is_dir() and not any(path.glob("*.tar")):
        return ReaderSplit(unlabeled_folder(path))
    url = str(path / "*.tar") if path.is_dir() else where
    split = WebDataset(WebDataset.Config(unlabeled=url, classes=list(classes))).split("unlabeled")
    assert split is not None
    return split


def open_dataset(target: str, overrides: Sequence[str], installed: Components) -> tuple[DatasetSource, ComponentConfig]:
    """The dataset that a user points at: a config file's, a packed folder, or shards by URL.

    Raises:
        UserError: it is none of them.
    """
    if target.endswith((".yaml", ".yml")):
        raw = config_files.read(target, overrides=overrides)
        config: ComponentConfig = resolve(_DataOnly, {"data": raw.get("data")}, installed.config).data
        return Maker(installed)("dataset", config), config
    if overrides:
        raise UserError("--set changes a config file; give one, or leave --set out")
    found = _packed(Path(target)) if Path(target).is_dir() else WebDataset.Config(unlabeled=target, classes=ANY_CLASS)
    return WebDataset(found), found


ANY_CLASS = 100_000
"""Classes to allow for where only shards are given: then labels can't be held against a list of names."""


class _DataOnly(BaseConfig):
    data: Annotated[ComponentConfig, Kind("dataset")]


def _packed(folder: Path) -> WebDataset.Config:
    """The config of a folder made by `mplframe data pack`."""
    names = [name for name in ("labeled", "unlabeled", "test") if any(folder.glob(f"{name}-*.tar"))]
    if not names:
        raise DataError(
            f"{folder} has no labeled-*.tar, unlabeled-*.tar or test-*.tar; give a folder made by "
            "`mplframe data pack`, a config file, or the URL of shards"
        )
    classes = folder / "classes.txt"
    urls: dict[str, Any] = {name: str(folder / f"{name}-*.tar") for name in names}
    return WebDataset.Config(**urls, classes=str(classes) if classes.exists() else ANY_CLASS)
