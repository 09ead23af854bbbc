"""Networks of a finished or stopped run, to be judged or used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from mplframe.api.configs import components, load
from mplframe.backends.ddp import ProcessesConfig
from mplframe.backends.processes import launched
from mplframe.backends.single import LocalConfig, Single
from mplframe.builders import Context, Run, build_run, open_images
from mplframe.checkpoint.format import load as load_checkpoint
from mplframe.checkpoint.run_folder import RunFolder, find_checkpoint
from mplframe.config.run import RunConfig
from mplframe.data.damaged import Damaged, tolerant
from mplframe.engine.classify import check_suffix, classify, write_table
from mplframe.engine.classify import schema as prediction_schema
from mplframe.engine.compatible import restore
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
    """

    live: Run
    networks: Mapping[str, nn.Module]
    stage: str
    step: int
    size: int | None

    @property
    def classes(self) -> Sequence[str]:
        """Class names in index order."""
        return self.live.source.classes

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
    config = _where_it_can(load(folder.config, overrides=overrides, installed=installed))
    live = build_run(config, installed or components(), folder)
    payload = load_checkpoint(path)
    stage = next((stage for stage in live.training if stage.name == payload["stage"]), None)
    if stage is None:
        raise CheckpointError(f"{path} is of the stage {payload['stage']!r}, which the configuration doesn't have")
    assert isinstance(stage.context, Context)
    built = stage.plan.build(replace(stage.context, restoring=True))
    restore(built, payload["state"])
    networks, done = built.networks(config.evaluation.weights), int(payload["progress"]["step"])
    return Trained(live, networks, stage.name, done, stage.plan.streams.size)


def _where_it_can(config: RunConfig) -> RunConfig:
    """The configuration of a run of several processes for this one alone, where torchrun didn't start it."""
    if not isinstance(config.backend, ProcessesConfig) or launched():
        return config
    own = config.backend.model_dump(include=set(LocalConfig.model_fields) - {"name"})
    return config.model_copy(update={"backend": Single.Config(**own)})


def evaluate(
    target: str | Path,
    *,
    checkpoint: str = "last",
    overrides: Sequence[str] = (),
    installed: Components | None = None,
) -> dict[str, Any]:
    """Judge the networks of a run on the test split; arguments as of `load_trained`."""
    trained = load_trained(target, checkpoint=checkpoint, overrides=overrides, installed=installed)
    live = trained.live
    networks = live.judge(trained.networks, trained.size)
    return {"stage": trained.stage, "step": trained.step, "networks": networks, "damaged": live.streams.damaged.counts}


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
        `samples`, `role`, `stage`, samples by predicted class, and how many were damaged.
    """
    check_suffix(Path(out))
    trained = load_trained(target, checkpoint=checkpoint, overrides=overrides, installed=installed)
    role, network = trained.network(role)
    settings = trained.live.config.input
    damaged = Damaged(settings.max_damaged)
    split = tolerant(open_images(images, trained.classes), images, damaged)
    batches = trained.live.streams.inputs(split, trained.size)
    counts: Counter[str] = Counter()
    rows = classify(network, batches, trained.live.backend, trained.classes)
    samples = write_table(Path(out), _counting(rows, counts), prediction_schema(trained.classes))
    return {
        "samples": samples,
        "role": role,
        "stage": trained.stage,
        "classes": dict(counts),
        "damaged": sum(damaged.counts.values()),
        "out": str(out),
    }


def _counting(rows: Iterable[Any], counts: Counter[str]) -> Iterator[Any]:
    for batch in rows:
        counts.update(batch.column("class").to_pylist())
        yield batch
