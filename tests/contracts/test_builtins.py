"""Every built-in component of every kind goes through the suite of its kind: none is left out, by construction."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from idx_files import write_fashion
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

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
    ("architecture", "timm"): {"model": "resnet10t"},
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


def dataset(name: str, folder: Path) -> None:
    if name == "webdataset":
        source = made("dataset", "digits", cache=str(folder))()
        assert source.split("test") is not None
        packed = next(folder.glob("datasets/digits-*"))
        urls = {split: f"{packed}/{split}-*.tar" for split in ("labeled", "unlabeled", "test")}
        check_dataset(made("dataset", name, **urls, classes=10, cache=str(folder)))
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
    "architecture": lambda name, _: check_architecture(made("architecture", name)),
    "augmentation": lambda name, _: check_augmentation(made("augmentation", name)),
    "backend": lambda name, _: check_backend(made("backend", name, device="cpu")),
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


@pytest.mark.parametrize(("kind", "name"), builtins(), ids=lambda part: part)
def test_builtin(kind: str, name: str, tmp_path: Path) -> None:
    SUITES[kind](name, tmp_path)
