"""Every built-in component of every kind goes through the suite of its kind: none is left out, by construction."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from idx_files import write_fashion
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import mplframe
from mplframe.contracts.architecture import ImageSpec
from mplframe.errors import UserError
from mplframe.plugins import Components, discover
from mplframe.testing import (
    check_architecture,
    check_augmentation,
    check_backend,
    check_dataset,
    check_evaluator,
    check_feedback,
    check_lookahead,
    check_loss,
    check_method,
    check_optimizer,
    check_schedule,
    check_tracker,
    named,
)

NETWORK = {"name": "small_cnn", "channels": 4, "blocks": 2, "dropout": 0.1}
LEARNER = {"network": NETWORK, "optimizer": {"name": "sgd", "lr": 0.05}}
BATCH = {"labeled": 6, "unlabeled": 8}
STAGE = {"steps": 6, "batch": BATCH, "student": {**LEARNER, "ema": 0.9}}

SETTINGS: dict[tuple[str, str], Mapping[str, Any]] = {
    ("architecture", "calibration_mlp"): {"identity": False},  # the suite feeds images
    ("architecture", "ensemble"): {"members": [NETWORK, {"name": "mlp", "hidden": [8]}]},
    ("architecture", "r2plus1d"): {"width": 8},
    ("architecture", "timm"): {"model": "resnet10t"},
    ("dataset", "moving_digits"): {"videos": 120, "test": 40, "labeled_per_class": 2},
    ("loss", "fixmatch"): {"threshold": 0.2},
    ("method", "billion_scale"): {
        "teacher": {**LEARNER, "steps": 4, "batch": 6},
        "student": {**LEARNER, "steps": 4, "batch": 8, "accumulate": 2},
        "pseudo_labels": {"labels": "hard", "select": {"top_p": 2, "top_k": 5}},
        "finetune": {"steps": 4, "batch": 6},
    },
    ("method", "noisy_student"): {
        "batch": {**BATCH, "accumulate": 2},
        "teacher": {**LEARNER, "steps": 4},
        "rounds": [{**LEARNER, "steps": 4}],
        "pseudo_labels": {"select": {"top_k": 8, "balance": True}},
    },
    ("method", "reduced_mpl"): {
        **STAGE,
        "batch": {**BATCH, "accumulate": 2},
        "large": {**LEARNER, "steps": 4, "batch": 6},
        "finetune": {"steps": 4, "batch": 6},
    },
    ("method", "mpl"): {
        **STAGE,
        "batch": {**BATCH, "accumulate": 2},
        "teacher": {**LEARNER, "ema": 0.9},
        "finetune": {"steps": 4, "batch": 6},
    },
    ("method", "pseudo_label"): {**STAGE, "teacher": {**LEARNER, "ema": 0.9}, "finetune": {"steps": 4, "batch": 6}},
    ("method", "supervised"): {**STAGE, "batch": 6, "accumulate": 2},
    ("method", "uda"): STAGE,
}
"""What a component's suite is run with where its defaults don't do, or would take long."""

SMALLEST = ("efficientnet_b0", "r2plus1d", "resnet18", "timm")
LARGE = 5_000_000
"""Parameters from which only the smallest of a family of networks is built for real."""

OPTIMIZERS: tuple[Mapping[str, Any], ...] = (
    {"name": "sgd", "weight_decay": 1e-2},
    {"name": "sgd", "nesterov": False, "weight_decay": 1e-2},
    {"name": "sgd", "nesterov": False, "momentum": 0.0},
    {"name": "rmsprop", "weight_decay": 1e-2},
    {"name": "rmsprop", "momentum": 0.0},
    {"name": "adam", "weight_decay": 1e-2},
    {"name": "lars", "weight_decay": 1e-2},
)
"""Beside every optimizer with its defaults: settings that lookaheads have to get right."""


@cache
def installed() -> Components:
    return discover()


def builtins() -> list[tuple[str, str]]:
    entries = [(kind, entry) for kind, registry in installed().registries.items() for entry in registry]
    return [(kind, entry.name) for kind, entry in entries if entry.origin == "mplframe"]


def made(kind: str, name: str, **more: Any) -> Callable[[], Any]:
    return named(kind, {"name": name, **SETTINGS.get((kind, name), {}), **more}, installed())


def backend(name: str, folder: Path) -> None:
    cls = installed().get("backend", name)
    reason = cls.unavailable()
    if reason is None:
        check_backend(made("backend", name, **({"device": "cpu"} if "device" in cls.Config.model_fields else {})))
    else:  # its suite runs where what it needs is installed
        with pytest.raises(UserError, match=re.escape(reason)):
            made("backend", name)()


def architecture(name: str, folder: Path) -> None:
    make = made("architecture", name, **(begun(folder) if name == "trained" else {}))
    spec = ImageSpec(size=32, channels=3, classes=10, frames=4 if make().clips else None)
    with torch.device("meta"):
        network = make().build(spec)
        logits = network(torch.empty(2, *spec.shape))
    assert logits.shape == (2, 10)
    # Larger ones are sizes of a class whose smallest goes through the whole suite.
    if name in SMALLEST or sum(p.numel() for p in network.parameters()) < LARGE:
        check_architecture(make, spec)


def begun(folder: Path) -> dict[str, Any]:
    """A finished run to begin with; the suite asks for other classes than it knows."""
    settings = {
        "data": {"name": "digits", "cache": str(folder)},
        "input": {"size": 8, "channels": 3, "workers": 0},
        "method": {"name": "supervised", "steps": 1, "batch": 4, "student": LEARNER},
        "backend": {"name": "single", "device": "cpu"},
        "trackers": [],
    }
    mplframe.run(mplframe.from_dict(settings), out=folder / "run")
    return {"run": str(folder / "run"), "head": "new"}


def pipeline() -> Iterator[dict[str, Any]]:
    """What a user's WebDataset pipeline gives."""
    for i in range(12):
        yield {"__key__": f"{i:02d}", "npy": np.full((8, 8, 1), 20 * i, np.uint8), "cls": i % 2}


def dataset(name: str, folder: Path) -> None:
    if name == "webdataset":
        source = made("dataset", "digits", cache=str(folder))()
        assert source.split("test") is not None
        packed = next(folder.glob("datasets/digits-*"))
        urls = {split: f"{packed}/{split}-*.tar" for split in ("labeled", "unlabeled", "test")}
        check_dataset(made("dataset", name, **urls, classes=10, cache=str(folder)))
    elif name == "pipeline":
        module = __name__
        callables = dict.fromkeys(("labeled", "unlabeled", "test"), f"{module}:pipeline")
        check_dataset(made("dataset", name, **callables, classes=2, cache=str(folder)))
    elif name == "fashion_mnist":
        write_fashion(folder, train=60, test=20)
        check_dataset(made("dataset", name, root=str(folder), labeled_per_class=2, cache=str(folder)))
    elif name == "two_moons":
        check_dataset(made("dataset", name))
    else:
        check_dataset(made("dataset", name, cache=str(folder)))


def lookahead(name: str, folder: Path) -> None:
    make = made("lookahead", name)
    described = [o for o in all_optimizers() if make().accepts(optimizer(o)(parameters()))]
    assert described, f"no optimizer that ships is described by the lookahead {name!r}"
    for settings in described:
        # `measured` takes any optimizer as it is, so it has no derivative to give.
        derivative = "refused" if name == "measured" else "given"
        check_lookahead(make, optimizer(settings), derivative=derivative)


def all_optimizers() -> list[Mapping[str, Any]]:
    return [*({"name": name} for kind, name in builtins() if kind == "optimizer"), *OPTIMIZERS]


def optimizer(settings: Mapping[str, Any]) -> Callable[[list[Any]], Any]:
    factory = named("optimizer", settings, installed())()
    return lambda p: factory.build(
        [{"params": p[:1], "weight_decay": factory.config.weight_decay}, {"params": p[1:], "weight_decay": 0.0}]
    )


def parameters() -> list[Any]:
    from torch import nn, zeros

    return [nn.Parameter(zeros(2, 2)), nn.Parameter(zeros(2))]


def tracker(name: str, folder: Path) -> None:
    check_tracker(made("tracker", name), folder, read=READ[name])


def jsonl_steps(run: Path) -> Sequence[int]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["total"] for line in lines if line["split"] == "train"]


def tensorboard_steps(run: Path) -> Sequence[int]:
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return [event.step for event in events.Scalars("train/student/loss")]


READ: dict[str, Callable[[Path], Sequence[int]] | None] = {
    "console": None,
    "jsonl": jsonl_steps,
    "tensorboard": tensorboard_steps,
}

SUITES: dict[str, Callable[[str, Path], None]] = {
    "architecture": architecture,
    "augmentation": lambda name, _: check_augmentation(made("augmentation", name)),
    "backend": backend,
    "dataset": dataset,
    "evaluator": lambda name, _: check_evaluator(made("evaluator", name)),
    "feedback": lambda name, _: check_feedback(made("feedback", name)),
    "lookahead": lookahead,
    "loss": lambda name, _: check_loss(made("loss", name)),
    "method": lambda name, _: check_method(made("method", name), components=installed()),
    "optimizer": lambda name, _: check_optimizer(made("optimizer", name)),
    "schedule": lambda name, _: check_schedule(made("schedule", name)),
    "tracker": tracker,
}


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(("kind", "name"), builtins(), ids=lambda part: part)
def test_builtin(kind: str, name: str, tmp_path: Path) -> None:
    SUITES[kind](name, tmp_path)
