"""Methods that label between their stages, killed and resumed through the real command."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from mplframe.config.load import dump

from .conftest import Cli
from .test_resume import assert_identical, kill_after, metrics, newest

pytestmark = pytest.mark.integration

NETWORK: dict[str, Any] = {
    "network": {"name": "small_cnn", "channels": 4, "blocks": 2, "dropout": 0.1},
    "optimizer": {"name": "sgd", "lr": 0.05},
    "ema": 0.9,
}
STAGE: dict[str, Any] = {**NETWORK, "steps": 8}
METHODS: dict[str, dict[str, Any]] = {
    "noisy_student": {
        "batch": {"labeled": 8, "unlabeled": 16},
        "teacher": STAGE,
        "rounds": [STAGE, STAGE],
        "pseudo_labels": {"select": {"threshold": 0.0, "top_k": 40, "balance": True}},
    },
    "billion_scale": {
        "teacher": {**STAGE, "batch": 8},
        "student": {**STAGE, "batch": 16},
        "pseudo_labels": {"labels": "hard", "select": {"top_p": 2, "top_k": 20}},
        "finetune": {"steps": 8, "batch": 8},
    },
    "reduced_mpl": {
        "large": {**STAGE, "batch": 8},
        "steps": 8,
        "batch": {"labeled": 8, "unlabeled": 16},
        "student": NETWORK,
        "feedback": "exact",
        "finetune": {"steps": 8, "batch": 8},
    },
}


@pytest.fixture(params=METHODS)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    settings = {
        "data": {"name": "digits"},
        "input": {"size": 8, "channels": 1, "weak": [{"name": "crop", "padding": 1}]},
        "method": {"name": request.param, **METHODS[request.param]},
        "backend": {"name": "single", "device": "cpu", "threads": 1},
        "checkpoint": {"every": 3},
        "trackers": ["jsonl"],
        "log_every": 1,
    }
    path = tmp_path / "config.yaml"
    path.write_text(dump(settings))
    return path


def test_killed_in_every_stage_and_resumed(
    cli: Cli, command: list[str], environment: dict[str, str], config: Path, tmp_path: Path
) -> None:
    whole = cli("run", config, "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    killed = tmp_path / "killed"
    for total in (5, 8, 14):  # in the first stage; at its end, before or in the labelling; in the second
        process = subprocess.Popen(
            [*command, "run", str(config), "--out", "killed"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
        )
        kill_after(total, killed, process, signal.SIGKILL)
    last = cli("run", config, "--out", "killed", "--set", "input.workers=2")
    assert last.returncode == 0 or "finished run" in last.stderr, last.stderr
    a, b = (torch.load(newest(folder), weights_only=True) for folder in (tmp_path / "whole", killed))
    assert_identical(a, b)
    assert metrics(tmp_path / "whole") == metrics(killed)
    found = [json.loads((folder / "summary.json").read_text())["stages"] for folder in (tmp_path / "whole", killed)]
    for stages in found:
        for stage in stages.values():
            stage.pop("seconds")
    assert found[0] == found[1]


def test_what_labelling_found_is_in_the_summary(cli: Cli, config: Path, tmp_path: Path) -> None:
    done = cli("run", config, "--out", "run", "--json")
    assert done.returncode == 0, done.stderr
    stages = json.loads(done.stdout)["stages"]
    labeled = [stage for name, stage in stages.items() if name.startswith("label")]
    selected = [stage for name, stage in stages.items() if name.startswith("select")]
    assert labeled
    for one, other in zip(labeled, selected, strict=True):
        assert one["images"] == one["of"] == other["images"]
        assert other["selected"] + sum(other["dropped"].values()) == other["images"]
        assert other["samples"] == sum(other["by_class"])
        assert 0.0 < other["correct"] <= 1.0
