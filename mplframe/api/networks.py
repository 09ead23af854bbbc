"""Networks of a finished or stopped run: judged, used, exported, transferred."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mplframe.api.configs import components
from mplframe.api.trained import Trained, load_trained
from mplframe.builders import open_dataset, open_images
from mplframe.contracts.data import Split, SplitName
from mplframe.data.damaged import Damaged, tolerant
from mplframe.data.readers.files import labeled_folder
from mplframe.data.readers.split import ReaderSplit
from mplframe.errors import DataError, UserError, optional
from mplframe.evaluation.classification import with_intervals
from mplframe.inference.predict import predict as predict_batches
from mplframe.inference.scoring import embedding, mean_embedding
from mplframe.inference.table import check_suffix, classify, write_table
from mplframe.inference.table import schema as prediction_schema
from mplframe.io.files import write_atomic
from mplframe.plugins import Components


def evaluate(
    target: str | Path,
    *,
    data: str | Path | None = None,
    checkpoint: str = "last",
    role: str | None = None,
    overrides: Sequence[str] = (),
    trust: bool = False,
    installed: Components | None = None,
) -> dict[str, Any]:
    """Judge the networks of a run.

    Args:
        data: a folder with one subfolder of images a class, named as the run's classes (some may be missing); the
            run's own split by default.
        target, checkpoint, overrides, trust, installed: as of `load_trained`.
        role: judge this network alone.

    Returns:
        `stage`, `step`, `split` (what was judged on), `chosen` (what a best checkpoint was chosen by, else None),
        `damaged`, and `networks`: metrics by role, with the number of samples `n` and 95 % intervals of accuracies.
    """
    trained = load_trained(
        target, checkpoint=checkpoint, role=role, overrides=overrides, trust=trust, installed=installed
    )
    trained = trained.only(role)
    live = trained.live
    judge = live.judge
    if data is not None:
        split = tolerant(
            ReaderSplit(labeled_folder(Path(data), list(trained.classes))), str(data), live.streams.damaged
        )
        judge = judge.on(lambda size: live.streams.inputs(split, size, shared=True), str(data))
    networks = judge(trained.networks, trained.size)
    return {
        "stage": trained.stage,
        "step": trained.step,
        "split": judge.split,
        "chosen": trained.chosen,
        "networks": {name: with_intervals(metrics, judge.samples) for name, metrics in networks.items()},
        "damaged": live.streams.damaged.counts,
    }


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
    trained = load_trained(
        target, checkpoint=checkpoint, role=role, overrides=overrides, trust=trust, installed=installed
    )
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
        target, checkpoint=checkpoint, role=role, overrides=[*overrides, ON_CPU], trust=trust, installed=installed
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
    trained = load_trained(
        target, checkpoint=checkpoint, role=role, overrides=overrides, trust=trust, installed=installed
    )
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
