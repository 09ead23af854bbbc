"""The runs that are made on one device and on meshes. No dropout: its numbers are each kind of device's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mplframe
from mplframe.config.run import RunConfig

LEARNER: dict[str, Any] = {
    "network": {"name": "small_cnn", "channels": 4, "blocks": 2},
    "optimizer": {"name": "sgd", "lr": 0.05},
    "schedule": "cosine",
    "clip": 1.0,
    "ema": 0.9,
}
STEADY_ADAM = {"name": "adam", "lr": 0.001, "eps": 0.001}
"""Divides no gradient by a size that is rounding."""
BATCH = {"labeled": 8, "unlabeled": 16}

RUNS: dict[str, dict[str, Any]] = {
    "mpl": {
        "name": "mpl",
        "steps": 5,
        "batch": {**BATCH, "accumulate": 2},
        "teacher": {**LEARNER, "losses": ["supervised", "uda"]},
        "student": {**LEARNER, "optimizer": {"name": "rmsprop", "lr": 0.01}},
        "feedback": {"name": "baseline", "inner": "cosine"},
        "finetune": {"steps": 2, "batch": 8, "optimizer": {"name": "lars", "lr": 0.1}},
    },
    "noisy_student": {
        "name": "noisy_student",
        "batch": BATCH,
        "teacher": {**LEARNER, "steps": 2},
        "rounds": [{**LEARNER, "steps": 3, "optimizer": STEADY_ADAM, "freeze": ["body.0.*", "body.1.*"]}],
        "pseudo_labels": {"select": {"threshold": 0.0, "top_k": 40, "balance": True}},
    },
    "reduced_mpl": {
        "name": "reduced_mpl",
        "steps": 3,
        "batch": BATCH,
        "large": {**LEARNER, "steps": 2},
        "pseudo_labels": {"select": {"threshold": 0.0, "top_k": 40}},
        "student": LEARNER,
    },
    "billion_scale": {
        "name": "billion_scale",
        "teacher": {**LEARNER, "steps": 2},
        "student": {**LEARNER, "steps": 3, "batch": 16, "accumulate": 2},
        "pseudo_labels": {"labels": "hard", "select": {"top_p": 3, "top_k": 20}},
        "finetune": {"steps": 2, "batch": 8},
    },
}


def config(name: str, /, **backend: Any) -> RunConfig:
    """One of the runs; its checkpoints of every second step stay."""
    views = [{"name": "crop", "padding": 1}]
    return mplframe.from_dict(
        {
            "seed": 3,
            "data": {"name": "digits", "labeled_per_class": 4},
            "input": {"size": 8, "channels": 1, "weak": views, "strong": views, "workers": 0},
            "method": RUNS[name],
            "backend": backend,
            "evaluation": {"batch_size": 512},
            "checkpoint": {"every": 2, "keep": 9},
            "trackers": ["jsonl"],
            "log_every": 1,
        }
    )


def run(name: str, out: Path, /, *, resume: Path | None = None, **backend: Any) -> None:
    """Make one of the runs."""
    mplframe.run(config(name, **backend), out=out, resume="auto" if resume is None else str(resume))
