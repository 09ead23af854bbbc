"""The runs that are made in one process and in two. No dropout: its numbers are each process's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mplframe

LEARNER: dict[str, Any] = {
    "network": {"name": "small_cnn", "channels": 4},
    "optimizer": {"name": "sgd", "lr": 0.05},
    "clip": 1.0,
    "ema": 0.9,
}
INPUT: dict[str, Any] = {
    "size": 8,
    "channels": 1,
    "weak": [{"name": "crop", "padding": 1}],
    "strong": [{"name": "crop", "padding": 1}, {"name": "randaugment", "operations": "svhn"}],
}
IN_BLOCKS = {**LEARNER, "network": {"name": "wide_resnet", "depth": 10, "width": 1}}
STEADY_ADAM = {"name": "adam", "lr": 0.001, "eps": 0.001}
"""Divides no gradient by a size that is rounding."""
PARTLY_FROZEN = {**IN_BLOCKS, "freeze": ["body.stem.*", "body.groups.0.*"]}
"""Its norms keep their statistics, so that nothing holds the size of what goes through it: steps are small."""
CONVOLUTIONS_FROZEN = {**IN_BLOCKS, "freeze": ["body.stem.*", "body.groups.0.*conv?.*"]}


def mpl(feedback: Any, accumulate: int, learner: dict[str, Any] = LEARNER, **others: Any) -> dict[str, Any]:
    batch = {"labeled": 12, "unlabeled": 20, "accumulate": accumulate}
    networks = {"teacher": learner, "student": learner}
    return {"name": "mpl", "steps": 5, "batch": batch, "feedback": feedback, **networks, **others}


RUNS: dict[str, dict[str, Any]] = {
    "dot": mpl(
        "dot",
        1,
        teacher={**LEARNER, "optimizer": {"name": "rmsprop", "lr": 0.01}},
        student={**CONVOLUTIONS_FROZEN, "optimizer": STEADY_ADAM},
        finetune={"steps": 2, "batch": 8, "optimizer": {"name": "lars", "lr": 1.0}, "ema": 0.9},
    ),
    "cosine": mpl({"name": "baseline", "inner": "cosine"}, 2),
    "exact": mpl("exact", 2, IN_BLOCKS),
    "per_example": mpl(
        {"name": "baseline", "inner": "per_example", "decay": 0.5},
        1,
        feedback_weight=300,
        teacher={**LEARNER, "losses": ["annealed", {"name": "uda", "threshold": 0.2}]},
    ),
    "annealed": {
        "name": "uda",
        "steps": 5,
        "batch": {"labeled": 12, "unlabeled": 20, "accumulate": 2},
        "student": {**PARTLY_FROZEN, "optimizer": {"name": "sgd", "lr": 0.01}},
        "losses": ["annealed", {"name": "fixmatch", "threshold": 0.2}],
    },
    "noisy_student": {
        "name": "noisy_student",
        "batch": {"labeled": 8, "unlabeled": 16},
        "teacher": {**LEARNER, "steps": 4},
        "rounds": [{**LEARNER, "steps": 4}],
        "pseudo_labels": {"select": {"threshold": 0.0, "top_k": 40, "balance": True}},
    },
    "reduced_mpl": {
        "name": "reduced_mpl",
        "steps": 3,
        "batch": {"labeled": 8, "unlabeled": 16, "accumulate": 2},
        "large": {**LEARNER, "steps": 2},
        "pseudo_labels": {"select": {"threshold": 0.0, "top_k": 40}},
        "teacher": {"optimizer": {**STEADY_ADAM, "lr": 0.01}},
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

ON_BACKENDS = [*((name, "ddp") for name in RUNS), *((name, "fsdp") for name in RUNS if name != "cosine")]
SETTINGS: dict[str, dict[str, Any]] = {"fsdp": {"unit_parameters": 0, "recompute": True}}


def settings(name: str, *, backend: str, every: int = 3) -> dict[str, Any]:
    """Of one of the runs; all its checkpoints, one of every so many steps, stay."""
    return {
        "seed": 3,
        "data": {"name": "digits", "labeled_per_class": 4},
        "input": INPUT,
        "method": RUNS[name],
        "backend": {"name": backend, "device": "cpu", "threads": 1, **SETTINGS.get(backend, {})},
        "checkpoint": {"every": every, "keep": 9},
        "trackers": ["jsonl"],
        "log_every": 1,
    }


def run(name: str, out: Path, *, backend: str, every: int = 3, resume: str = "auto") -> dict[str, Any]:
    """Make one of the runs."""
    return mplframe.run(mplframe.from_dict(settings(name, backend=backend, every=every)), out=out, resume=resume)
