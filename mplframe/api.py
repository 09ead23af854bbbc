"""Load, plan, run: what the command line does, for programs.

config = mplframe.load("quickstart.yaml", overrides=["method.steps=100"])
summary = mplframe.run(config, out="runs/quickstart")
"""

from __future__ import annotations

import platform
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from mplframe.builders import Maker, Run, build_run, image_spec, open_dataset, open_images
from mplframe.checkpoint.run_folder import RunFolder, find_checkpoint
from mplframe.checkpoint.store import CheckpointStore
from mplframe.checkpoint.store import load as load_checkpoint
from mplframe.config import load as config_files
from mplframe.config.resolve import resolve
from mplframe.config.run import RunConfig
from mplframe.config.schema import json_schema
from mplframe.contracts.tracker import Tracker
from mplframe.data.contact_sheet import contact_sheet
from mplframe.data.inspection import SplitInspection
from mplframe.data.inspection import inspect as inspect_dataset
from mplframe.data.pack import PackOptions, ShardLimits, pack_folders, pack_source
from mplframe.data.shards import WebDataset
from mplframe.data.stream import evaluation_batches
from mplframe.data.verification import verify, verify_shards
from mplframe.engine.classify import check_suffix, classify, write_table
from mplframe.engine.classify import schema as prediction_schema
from mplframe.engine.compatible import check_identity, restore
from mplframe.engine.cost import PlanCost, plan_cost
from mplframe.errors import CheckpointError, ConfigError, MplframeError, UserError, nearest
from mplframe.plugins import Components, discover
from mplframe.report.curves import learning_curves


@cache
def components() -> Components:
    """Every installed component; discovered once a process."""
    return discover()


def load(
    path: str | Path,
    *,
    overrides: Sequence[str] = (),
    profile: str | None = None,
    installed: Components | None = None,
) -> RunConfig:
    """A validated config from a YAML file.

    Args:
        path: the file.
        overrides: `a.b=value` each; they win over the file.
        profile: a name below the file's `profiles`.
        installed: what names may refer to; everything installed by default.

    Raises:
        ConfigError: lists every problem with its path.
    """
    raw = config_files.read(path, overrides=overrides, profile=profile)
    return from_dict(raw, installed=installed, where=str(path))


def from_dict(
    raw: Mapping[str, Any], *, installed: Components | None = None, where: str = "the configuration"
) -> RunConfig:
    """A validated config from plain data.

    Raises:
        ConfigError: lists every problem with its path.
    """
    try:
        config: RunConfig = resolve(RunConfig, raw, (installed or components()).config)
    except ConfigError as error:
        raise ConfigError(str(error).replace("the configuration isn't valid", f"{where} isn't valid", 1)) from error
    return config


def schema(installed: Components | None = None) -> dict[str, Any]:
    """The JSON schema of config files, with the settings of every installed component that can be imported."""
    found = installed or components()
    named: dict[str, dict[str, Any]] = {}
    for kind, registry in found.registries.items():
        named[kind] = {}
        for name in registry.names():
            try:
                named[kind][name] = found.config(kind, name)
            except MplframeError as error:
                print(f"left out of the schema: {error}", file=sys.stderr)
    return json_schema(named)


def plan(config: RunConfig, *, installed: Components | None = None) -> PlanCost:
    """What a run would cost, computed on the meta device: no data are touched and no memory is taken."""
    make = Maker(installed or components())
    spec = image_spec(config, make("dataset", config.data))
    methods = [*config.baselines, config.method]
    stages = [stage for method in methods for stage in make("method", method).stages(make)]
    return plan_cost(
        stages,
        spec,
        architecture=lambda c: make("architecture", c),
        optimizer=lambda c: make("optimizer", c),
    )


def run(
    config: RunConfig,
    *,
    out: str | Path | None = None,
    resume: str = "auto",
    installed: Components | None = None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Train, and leave everything in the run folder.

    Args:
        config: what to do.
        out: the run folder; the config's by default.
        resume: `auto`, `never`, or a checkpoint or run folder to go on from.
        installed: what names may refer to.
        command: what was typed, for the manifest.

    Returns:
        What `summary.json` holds.

    Raises:
        UserError: something in the config, the data or the folder has to be mended first.
        RunError: the run failed.
    """
    found = installed or components()
    folder = RunFolder(Path(out if out is not None else config.out))
    live = build_run(config, found, folder)
    with folder.locked():
        live.open_data()
        store = CheckpointStore(folder.checkpoints, keep=config.checkpoint.keep)
        checkpoint = folder.begin(resume, store)
        if checkpoint is not None:
            check_identity(checkpoint["identity"], live.identity)
        folder.write_text(folder.config, config_files.dump(config.dump()))
        folder.write_json(folder.manifest, _manifest(live, found, command))
        return _train(live, folder, store, checkpoint)


@dataclass(frozen=True)
class Trained:
    """Networks taken from a checkpoint.

    Attributes:
        live: the run that they belong to.
        networks: by role; the first is the one that the stage was for.
        stage: name of the stage.
        step: steps of it that were done.
    """

    live: Run
    networks: Mapping[str, nn.Module]
    stage: str
    step: int

    @property
    def classes(self) -> Sequence[str]:
        """Class names in index order."""
        return self.live.source.classes


def load_trained(
    target: str | Path,
    *,
    checkpoint: str = "last",
    overrides: Sequence[str] = (),
    installed: Components | None = None,
) -> Trained:
    """The networks of a run, with the weights that it evaluates.

    Args:
        target: a run folder, or one of its checkpoints.
        checkpoint: of a run folder: `last` or `best`.
        overrides: changes to the run's configuration, such as `data.test=URL`.
        installed: what names may refer to.

    Raises:
        CheckpointError: there is no such checkpoint, or it doesn't fit the run's configuration.
    """
    path = find_checkpoint(Path(target), checkpoint)
    folder = RunFolder(path.resolve().parent.parent)
    if not folder.config.exists():
        raise CheckpointError(f"{path} isn't in a run folder: there is no {folder.config}")
    config = load(folder.config, overrides=overrides, installed=installed)
    live = build_run(config, installed or components(), folder)
    payload = load_checkpoint(path)
    stage = next((stage for stage in live.stages if stage.name == payload["stage"]), None)
    if stage is None:
        raise CheckpointError(f"{path} is of the stage {payload['stage']!r}, which the configuration doesn't have")
    built = stage.plan.build(stage.context)
    restore(built, payload["state"])
    return Trained(live, built.networks(config.evaluation.weights), stage.name, int(payload["progress"]["step"]))


def evaluate(
    target: str | Path,
    *,
    checkpoint: str = "last",
    overrides: Sequence[str] = (),
    installed: Components | None = None,
) -> dict[str, Any]:
    """Judge the networks of a run on the test split; arguments as of `load_trained`."""
    trained = load_trained(target, checkpoint=checkpoint, overrides=overrides, installed=installed)
    return {"stage": trained.stage, "step": trained.step, "networks": trained.live.judge(trained.networks)}


def predict(
    target: str | Path,
    images: str,
    out: str | Path,
    *,
    checkpoint: str = "last",
    role: str | None = None,
    overrides: Sequence[str] = (),
    installed: Components | None = None,
) -> dict[str, Any]:
    """Classify images into a table.

    Args:
        target: a run folder, or one of its checkpoints.
        images: a folder of images, or the URL of shards.
        out: a `.csv` or `.parquet` file.
        checkpoint: of a run folder: `last` or `best`.
        role: which network; the one that the run is for by default.
        overrides: changes to the run's configuration.
        installed: what names may refer to.

    Returns:
        `samples`, `role`, `stage`, and samples by predicted class.
    """
    check_suffix(Path(out))
    trained = load_trained(target, checkpoint=checkpoint, overrides=overrides, installed=installed)
    role = role or next(iter(trained.networks))
    if role not in trained.networks:
        raise UserError(
            f"no network is named {role!r}{nearest(role, trained.networks)} (there are: {', '.join(trained.networks)})"
        )
    split = open_images(images, trained.classes)
    settings = trained.live.config.input
    batches = evaluation_batches(
        split,
        batch_size=trained.live.config.evaluation.batch_size,
        size=settings.size,
        channels=settings.channels,
        fit=settings.fit,
        eval_crop=settings.eval_crop,
        workers=settings.workers,
    )
    counts: Counter[str] = Counter()
    rows = classify(trained.networks[role], batches, trained.live.backend, trained.classes)
    samples = write_table(Path(out), _counting(rows, counts), prediction_schema(trained.classes))
    return {"samples": samples, "role": role, "stage": trained.stage, "classes": dict(counts), "out": str(out)}


def _counting(rows: Iterable[Any], counts: Counter[str]) -> Iterator[Any]:
    for batch in rows:
        counts.update(batch.column("class").to_pylist())
        yield batch


def _train(
    live: Run, folder: RunFolder, store: CheckpointStore, checkpoint: Mapping[str, Any] | None
) -> dict[str, Any]:
    done = int(checkpoint["progress"]["total"]) if checkpoint else 0
    total = sum(stage.plan.steps for stage in live.stages)
    with _opened(live.trackers, folder.path, total, done):
        if checkpoint:
            _tell(live.trackers, f"resuming after step {done} of {total} in {folder.path}")
        try:
            progress = live.engine(folder, store).run(checkpoint)
        finally:
            live.backend.close()
    summary = _summary(live, progress.results, progress.seconds, progress.images)
    if folder.metrics.exists():
        learning_curves(folder.metrics, folder.curves)
    folder.write_json(folder.summary, summary)
    return summary


@contextmanager
def _opened(trackers: Sequence[Tracker], folder: Path, total: int, done: int) -> Iterator[None]:
    opened: list[Tracker] = []
    try:
        for tracker in trackers:
            tracker.open(folder, total_steps=total, done=done)
            opened.append(tracker)
        yield
    finally:
        for tracker in opened:
            tracker.close()


def _tell(trackers: Sequence[Tracker], text: str) -> None:
    for tracker in trackers:
        tracker.message(text)


def _summary(live: Run, results: Mapping[str, Any], seconds: float, images: int) -> dict[str, Any]:
    last = live.stages[-1]
    main = results[last.name]["networks"][last.plan.networks[0].role]
    baselines = {
        stage.name: results[stage.name]["networks"][stage.plan.networks[0].role]
        for stage in live.stages
        if not stage.main
    }
    return {
        "final": main,
        "baselines": baselines,
        "stages": dict(results),
        "seconds": seconds,
        "images": images,
        "seed": live.config.seed,
    }


def _manifest(live: Run, found: Components, command: Sequence[str]) -> dict[str, Any]:
    packages = ("mplframe", "torch", "torchvision", "timm", "numpy", "webdataset", "fsspec")
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": list(command),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "plugins": [{"name": p.name, "version": p.version, "broken": p.reason} for p in found.plugins],
        "seed": live.config.seed,
        "backend": {"name": live.config.backend.name, "world": live.backend.world, **live.backend.describe()},
        "data": dict(live.source.fingerprint()),
        "classes": list(live.source.classes),
        "stages": [{"name": stage.name, "steps": stage.plan.steps} for stage in live.stages],
    }


def data_pack(
    out: str | Path,
    *,
    labeled: str | Path | None = None,
    unlabeled: str | Path | None = None,
    source: str | Path | None = None,
    format: str = "auto",
    split: Any = None,
    labels: int | None = None,
    test: str | None = None,
    seed: int = 0,
    shard_size: int = 10_000,
    keep_truth: bool = False,
    skip_damaged: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Make WebDataset shards of two folders of images, or of one dataset on disk; see `mplframe.data.pack`.

    Raises:
        UserError: neither or both are given, or something is missing.
    """
    options = PackOptions(
        limits=ShardLimits(max_count=shard_size),
        seed=seed,
        damaged="skip" if skip_damaged else "error",
        overwrite=overwrite,
    )
    held_out = _amount(test)
    if (source is None) == (labeled is None):
        raise UserError("give either --labeled DIR (with --unlabeled DIR), or --source PATH, which is split by itself")
    if source is None:
        assert labeled is not None
        if split is not None or labels is not None:
            raise UserError("--split and --labels divide a --source; folders are divided already")
        report = pack_folders(out, labeled=labeled, unlabeled=unlabeled, test=held_out, options=options)
    else:
        if unlabeled is not None or isinstance(held_out, str):
            raise UserError("a --source is divided by --labels and --test N or FRACTION; it takes no folders beside it")
        report = pack_source(
            out,
            source=source,
            format=format,
            split=split,
            labeled=labels,
            test=held_out,
            keep_truth=keep_truth,
            options=options,
        )
    return {
        "out": str(report.out),
        "classes": list(report.classes),
        "samples": {name: packed.samples for name, packed in report.splits.items()},
        "shards": {name: [shard.file for shard in packed.shards] for name, packed in report.splits.items()},
        "notes": list(report.notes),
    }


def data_inspect(
    target: str,
    *,
    overrides: Sequence[str] = (),
    sheet: str | Path | None = None,
    installed: Components | None = None,
) -> dict[str, Any]:
    """What a dataset holds.

    Args:
        target: a config file, a folder made by `data_pack`, or the URL of shards.
        overrides: of the config file.
        sheet: a PNG to draw some samples to.
        installed: what names may refer to.
    """
    source, _ = open_dataset(target, overrides, installed or components())
    found = inspect_dataset(source)
    if sheet is not None:
        name = next(iter(found.splits))
        split = source.split(name)
        assert split is not None
        contact_sheet(split, found.classes, sheet)
    return {
        "classes": list(found.classes),
        "splits": {name: _split_facts(split) for name, split in found.splits.items()},
        "problems": [asdict(problem) for problem in found.problems],
    }


def _split_facts(split: SplitInspection) -> dict[str, Any]:
    # JSON has no keys of numbers.
    sizes = [{"shape": list(shape), "samples": count} for shape, count in split.image_sizes.items()]
    return {**asdict(split), "image_sizes": sizes}


def data_verify(
    target: str, *, overrides: Sequence[str] = (), installed: Components | None = None
) -> list[dict[str, Any]]:
    """Everything that is wrong with a dataset, after reading and decoding all of it; arguments as of `data_inspect`."""
    source, config = open_dataset(target, overrides, installed or components())
    found = verify_shards(config) if isinstance(config, WebDataset.Config) else verify(source)
    return [asdict(problem) for problem in found]


def _amount(text: str | None) -> str | int | float | None:
    """A number of samples, a fraction below 1, or else a path."""
    for kind in (int, float):
        try:
            return None if text is None else kind(text)
        except ValueError:
            continue
    return text
