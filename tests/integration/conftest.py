"""The installed command, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mplframe.cli import main

Result = subprocess.CompletedProcess[str]
Cli = Callable[..., Result]


@pytest.fixture(scope="session")
def command() -> list[str]:
    """How to start mplframe with the interpreter of the tests."""
    return [sys.executable, "-W", "error::ResourceWarning", "-m", "mplframe"]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One cache for all tests, none of the user's, and one thread a process."""
    cache = tmp_path_factory.mktemp("cache")
    return {**os.environ, "MPLFRAME_CACHE": str(cache), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


@pytest.fixture
def cli(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Cli:
    """The console script's own entry, in this process to save its start, in an empty folder.

    Whatever happens, a user sees no traceback: anything but an exit fails the test.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLFRAME_CACHE", environment["MPLFRAME_CACHE"])
    torch.set_num_threads(1)

    def run(*arguments: str | Path) -> Result:
        words = ["mplframe", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capfd.readouterr()
        return Result(words, int(stop.value.code or 0), out, err)

    return run


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A config that trains every kind of state on the digits in seconds: EMA, baseline, dropout, accumulation."""
    path = tmp_path / "small.yaml"
    path.write_text(
        """
seed: 3
data: {name: digits, labeled_per_class: 4}
input:
  size: 8
  channels: 1
  weak: [{name: crop, padding: 1}]
  strong: [{name: crop, padding: 1}, {name: randaugment, operations: svhn}]
baselines:
  - name: supervised
    steps: 6
    batch: 16
    student: {network: {name: mlp, hidden: [16]}, optimizer: {name: sgd, lr: 0.05}}
method:
  name: mpl
  steps: 14
  batch: {labeled: 12, unlabeled: 20, accumulate: 2}
  teacher:
    network: {name: small_cnn, channels: 4, dropout: 0.2}
    optimizer: {name: sgd, lr: 0.05, weight_decay: 5e-4}
    schedule: {name: cosine, warmup: 3}
    clip: 1.0
  student:
    network: {name: small_cnn, channels: 4, dropout: 0.2}
    optimizer: {name: rmsprop, lr: 0.01}
    schedule: {name: cosine, warmup: 3}
    ema: 0.9
  feedback: {name: baseline, inner: cosine}
  finetune: {steps: 5, batch: 12, optimizer: {name: sgd, lr: 1e-3}, ema: 0.5}
evaluation: {every: 4}
checkpoint: {every: 5}
log_every: 3
"""
    )
    return path
