"""Networks of a finished or stopped run: loaded, judged, used, exported, transferred."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mplframe.api.configs import components
from mplframe.backends.ddp import ProcessesConfig
from mplframe.backends.processes import launched
from mplframe.backends.single import LocalConfig, Single
from mplframe.builders import Context, Maker, Run, StoredConfig, build_run, open_dataset, open_images
from mplframe.checkpoint.compatible import restore
from mplframe.checkpoint.format import load as load_checkpoint
from mplframe.checkpoint.run_folder import RunFolder, find_checkpoint
from mplframe.config.run import RunConfig
from mplframe.contracts.data import Split, SplitName
from mplframe.data.damaged import Damaged, tolerant
from mplframe.errors import CheckpointError, DataError, UserError, nearest, optional
from mplframe.inference.predict import predict as predict_batches
from mplframe.inference.scoring import embedding, mean_embedding
from mplframe.inference.table import check_suffix, classify, write_table
from mplframe.inference.table import schema as prediction_schema
from mplframe.io.files import write_atomic
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
    trust: bool = False,
    installed: Components | None = None,
) -> Trained:
    """The networks of a run, with the weights that it evaluates.

    Args:
        target: a run folder, or one of its checkpoints.
        checkpoint: of a run folder: `last` or `best`.
        overrides: changes to the run's configuration, such as `data.test=URL`.
        trust: settings that the run folder keeps may name functions, URLs and files outside it, though no run of the
            user's wrote them.
        installed: what names may refer to.

    Raises:
        CheckpointError: there is no such checkpoint, or it doesn't fit the run's configuration.
        UserError: the configuration leads out of the run folder, and isn't trusted.
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
    trust: bool = False,
    installed: Components | None = None,
) -> dict[str, Any]:
    """Judge the networks of a run on the test split; arguments as of `load_trained`."""
    trained = load_trained(target, checkpoint=checkpoint, overrides=overrides, trust=trust, installed=installed)
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
    trust: bool = False,
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
        trust: see `load_trained`.
        installed: what names may refer to.

    Returns:
        `samples`, `role`, `stage`, samples by predicted class, and how many were damaged.
    """
    check_suffix(Path(out))
    trained = load_trained(target, checkpoint=checkpoint, overrides=overrides, trust=trust, installed=installed)
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


FORMATS = (".pt2", ".onnx")
FACTS = "mplframe.json"
ONNX_BYTES = 2**31
ON_CPU = "backend={name: single, device: cpu}"


def export(
    target: str | Path,
    out: str | Path,
    *,
    checkpoint: str = "last",
    role: str | None = None,
    overrides: Sequence[str] = (),
    trust: bool = False,
    installed: Components | None = None,
) -> dict[str, Any]:
    """Write a network with its normalisation, for any N.

    It takes uint8 [N, C, H, W] pixels, of clips [N, T, C, H, W], and gives float32 [N, classes] logits.

    Args:
        target: a run folder, or one of its checkpoints.
        out: `.pt2` for `torch.export.load`, with the facts in the extra file `mplframe.json`; or `.onnx`, with the
            facts as JSON under `mplframe` in its metadata.
        checkpoint: of a run folder: `last` or `best`.
        role: which network; the one that the run is for by default.
        overrides: changes to the run's configuration.
        trust: see `load_trained`.
        installed: what names may refer to.

    Returns:
        The facts: `role`, `stage`, `step`, `classes` (names in index order) and `input` (shape of one sample).

    Raises:
        UserError: another suffix, a package is missing, or the network can't be exported.
    """
    path = Path(out)
    if path.suffix not in FORMATS:
        raise UserError(f"--out {path}: networks are exported as .pt2 or .onnx, not {path.suffix or 'without suffix'}")
    if path.suffix == ".onnx":
        optional("onnxscript", "mplframe[onnx]")
    trained = load_trained(
        target, checkpoint=checkpoint, overrides=[*overrides, ON_CPU], trust=trust, installed=installed
    )
    role, network = trained.network(role)
    shape = trained.live.spec.pixels(trained.size)
    facts = {
        "role": role,
        "stage": trained.stage,
        "step": trained.step,
        "classes": list(trained.classes),
        "input": list(shape),
    }
    if path.suffix == ".onnx" and sum(p.nbytes for p in network.parameters()) >= ONNX_BYTES:
        raise UserError(f"--out {path}: the {role} has over 2 GiB of weights, more than an .onnx file holds; take .pt2")
    program = _traced(network, torch.zeros((2, *shape), dtype=torch.uint8), name=f"the {role} of {target}")
    write_atomic(path, lambda file: _write(program, file, path.suffix, facts))
    return {**facts, "out": str(out)}


def _traced(network: nn.Module, images: Tensor, *, name: str) -> ExportedProgram:
    try:
        return torch.export.export(network.eval(), (images,), dynamic_shapes=({0: Dim("batch")},))
    except Exception as error:  # tracing runs the network's own code, which may raise anything
        first = str(error).strip().partition("\n")[0]
        raise UserError(f"{name} can't be exported by torch.export: {type(error).__name__}: {first}") from error


def _write(program: ExportedProgram, file: BinaryIO, suffix: str, facts: Mapping[str, Any]) -> None:
    if suffix == ".pt2":
        torch.export.save(program, file, extra_files={FACTS: json.dumps(facts)})
        return
    found = torch.onnx.export(program, dynamo=True, verbose=False, input_names=["images"], output_names=["logits"])
    assert found is not None, "dynamo=True gives a program"
    model = found.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = "mplframe", json.dumps(facts)
    file.write(model.SerializeToString())


STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse regularisation strengths that cross-validation chooses from."""
FOLDS, ITERATIONS = 5, 2_000


def transfer(
    target: str | Path,
    data: str,
    *,
    checkpoint: str = "last",
    role: str | None = None,
    strength: float | None = None,
    overrides: Sequence[str] = (),
    trust: bool = False,
    installed: Components | None = None,
) -> dict[str, Any]:
    """Train a logistic regression on what a network's last linear layer is given (Billion-scale SSL, 5.2, fc-only).

    Args:
        target, checkpoint, overrides, trust, installed: as of `load_trained`.
        data: a config file or a packed folder: its labeled split trains the regression, its test split judges it. Its
            classes needn't be those of the network.
        role: which network; the one that the run is for by default.
        strength: inverse of the L2 regularisation, of standardised features; None chooses by cross-validation.

    Returns:
        `top1` on the test split, `train_top1`, the `strength`, how many `features`, and samples of both splits.

    Raises:
        UserError: the dataset has no such split, or fewer than two classes in it.
    """
    trained = load_trained(target, checkpoint=checkpoint, overrides=overrides, trust=trust, installed=installed)
    source, _ = open_dataset(data, (), installed or components())
    damaged = Damaged(trained.live.config.input.max_damaged)
    found = {}
    names: tuple[SplitName, ...] = ("labeled", "test")
    for name in names:
        split = source.split(name)
        if split is None:
            raise DataError(f"{data} has no {name} split; labeled samples train a regression and test samples judge it")
        found[name] = _features(trained, tolerant(split, name, damaged), role)
    (x, y), (test_x, test_y) = found["labeled"], found["test"]
    if len(np.unique(y)) < 2:
        raise UserError(f"{data}: its labeled samples are all of one class; a regression needs at least two")
    chosen = _chosen(x, y) if strength is None else strength
    regression = _regression(chosen).fit(x, y)
    return {
        "top1": float(regression.score(test_x, test_y)),
        "train_top1": float(regression.score(x, y)),
        "strength": chosen,
        "features": x.shape[1],
        "labeled": len(y),
        "test": len(test_y),
        "damaged": damaged.counts,
    }


def _regression(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression  # slow to import, and no other verb needs it
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=ITERATIONS))


def _chosen(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> float:
    """The strength that does best on held-out parts of the labeled samples."""
    from sklearn.model_selection import GridSearchCV

    folds = min(FOLDS, int(np.unique(y, return_counts=True)[1].min()))
    if folds < 2:
        raise UserError("a class has one labeled sample only, so nothing can be held out to choose by; set --strength")
    name = "logisticregression__C"
    search = GridSearchCV(_regression(1.0), {name: STRENGTHS}, cv=folds, refit=False).fit(x, y)
    return float(search.best_params_[name])


def _features(trained: Trained, split: Split, role: str | None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    _, network = trained.network(role)
    live = trained.live
    features, labels = [], []
    for batch in live.streams.inputs(split, trained.size):
        with embedding(network) as given:
            predict_batches(network, batch.images, live.backend)
        features.append(mean_embedding(given[0], len(batch.keys)))
        labels.append(batch.labels.numpy())
    return np.concatenate(features), np.concatenate(labels)
