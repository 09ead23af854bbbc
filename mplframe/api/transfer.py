"""How much a network's features are worth for other classes: a logistic regression on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mplframe.api.configs import components
from mplframe.api.trained import Trained, load_trained
from mplframe.builders import open_dataset
from mplframe.contracts.data import Split, SplitName
from mplframe.data.damaged import Damaged, tolerant
from mplframe.errors import DataError, UserError
from mplframe.learners.inference import predict
from mplframe.plugins import Components
from mplframe.tasks.scoring import embedding, mean_embedding

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
    installed: Components | None = None,
) -> dict[str, Any]:
    """Train a logistic regression on what a network's last linear layer is given (Billion-scale SSL, 5.2, fc-only).

    Args:
        target, checkpoint, overrides, installed: as of `load_trained`.
        data: a config file or a packed folder: its labeled split trains the regression, its test split judges it. Its
            classes needn't be those of the network.
        role: which network; the one that the run is for by default.
        strength: inverse of the L2 regularisation, of standardised features; None chooses by cross-validation.

    Returns:
        `top1` on the test split, `train_top1`, the `strength`, how many `features`, and samples of both splits.

    Raises:
        UserError: the dataset has no such split, or fewer than two classes in it.
    """
    trained = load_trained(target, checkpoint=checkpoint, overrides=overrides, installed=installed)
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
            predict(network, batch.images, live.backend)
        features.append(mean_embedding(given[0], len(batch.keys)))
        labels.append(batch.labels.numpy())
    return np.concatenate(features), np.concatenate(labels)
