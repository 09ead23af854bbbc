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


def mpl(feedback: Any, accumulate: int, learner: dict[str, Any] = LEARNER) -> dict[str, Any]:
    batch = {"labeled": 12, "unlabeled": 20, "accumulate": accumulate}
    return {"name": "mpl", "steps": 5, "batch": batch, "teacher": learner, "student": learner, "feedback": feedback}


RUNS: dict[str, dict[str, Any]] = {
    "dot": mpl("dot", 1),
    "cosine": mpl({"name": "baseline", "inner": "cosine"}, 2),
    "exact": mpl("exact", 2, IN_BLOCKS),
    "noisy_student": {
        "name": "noisy_student",
        "batch": {"labeled": 8, "unlabeled": 16},
        "teacher": {**LEARNER, "steps": 4},
        "rounds": [{**LEARNER, "steps": 4}],
        "pseudo_labels": {"select": {"threshold": 0.0, "top_k": 40, "balance": True}},
    },
}

ON_BACKENDS = [*((name, "ddp") for name in RUNS), ("exact", "fsdp"), ("noisy_student", "fsdp")]
SETTINGS: dict[str, dict[str, Any]] = {"fsdp": {"unit_parameters": 0, "recompute": True}}


def run(name: str, out: Path, *, backend: str, resume: str = "auto") -> dict[str, Any]:
    """One of the runs; its checkpoints of every third step stay."""
    config = mplframe.from_dict(
        {
            "seed": 3,
            "data": {"name": "digits", "labeled_per_class": 4},
            "input": INPUT,
            "method": RUNS[name],
            "backend": {"name": backend, "device": "cpu", "threads": 1, **SETTINGS.get(backend, {})},
            "checkpoint": {"every": 3, "keep": 9},
            "trackers": ["jsonl"],
            "log_every": 1,
        }
    )
    return mplframe.run(config, out=out, resume=resume)
