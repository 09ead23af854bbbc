"""What happens to two processes when one dies, when they are told to stop, and when they can't begin."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from mplframe.checkpoint.format import load
from mplframe.config.load import dump

from .launching import launched
from .runs import INPUT, mpl

pytestmark = pytest.mark.integration

PATIENCE = 60.0
"""Seconds for a launch to end; it takes about one, and torchrun kills what hasn't ended after 30."""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that doesn't end by itself."""
    monkeypatch.setenv("MPLFRAME_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    settings = {
        "data": {"name": "digits"},
        "input": INPUT,
        "method": {**mpl("dot", 1), "steps": 1_000_000},
        "backend": {"name": "ddp", "device": "cpu", "timeout": 30},
        "trackers": ["jsonl"],
        "log_every": 1,
    }
    path = tmp_path / "config.yaml"
    path.write_text(dump(settings))
    return path


def steps(folder: Path) -> int:
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    return int(json.loads(lines[-1])["total"]) if lines else 0


def test_one_that_dies_ends_the_other(config: Path, tmp_path: Path) -> None:
    with launched(tmp_path, "-m", "mplframe", "run", config, "--out", "run") as launch:
        launch.wait_until(lambda: steps(tmp_path / "run") >= 3)
        (other,) = launch.alive(rank=1)
        os.kill(other, signal.SIGKILL)
        assert launch.wait(PATIENCE) != 0
        assert launch.alive() == []
        assert "mplframe: process 0 of 2 has lost the others" in launch.said
        assert 'File "/' not in launch.said.partition("has lost the others")[0], "a traceback"


def test_told_to_stop_both_stop_after_the_same_step(config: Path, tmp_path: Path) -> None:
    with launched(tmp_path, "-m", "mplframe", "run", config, "--out", "run") as launch:
        launch.wait_until(lambda: steps(tmp_path / "run") >= 3)
        launch.process.send_signal(signal.SIGTERM)
        assert launch.wait(PATIENCE) != 0
        assert launch.alive() == []
        (saved,) = (tmp_path / "run" / "checkpoints").glob("step-*.pt")
        assert load(saved)["progress"]["total"] == steps(tmp_path / "run") >= 3
        assert launch.said.count(f"stopped after step {steps(tmp_path / 'run')} of mpl") == 2


def test_batches_that_cannot_be_shared_are_refused_at_once(config: Path, tmp_path: Path) -> None:
    refused = ("--set", "method.batch.unlabeled=21")
    with launched(tmp_path, "-m", "mplframe", "run", config, "--out", "run", *refused) as launch:
        assert launch.wait(PATIENCE) != 0
        assert "stage mpl: 2 processes can't share 21 unlabeled samples a step equally" in launch.said
        assert launch.alive() == []
        assert not list((tmp_path / "run" / "checkpoints").iterdir())
