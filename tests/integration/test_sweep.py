"""`mplframe sweep`: whatever is killed, no trial is lost, doubled or done twice."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mplframe

from .conftest import Cli

pytestmark = pytest.mark.integration

TRIALS = 4
CONFIG = """
data: {name: digits, labeled_per_class: 6}
input: {size: 8, channels: 1, weak: [{name: crop, padding: 1}]}
baselines:
  - name: supervised
    steps: 2
    batch: 8
    student: {network: {name: mlp, hidden: [8]}, optimizer: {name: sgd, lr: 0.1}}
method:
  name: supervised
  steps: 60
  batch: 16
  student: {network: {name: mlp, hidden: [8]}, optimizer: {name: sgd, lr: 0.1}}
evaluation: {every: 20, holdout: 20}
checkpoint: {every: 5, keep_best: false}
log_every: 5
sweep:
  trials: 4
  sampler: random
  ranges:
    method.student.optimizer.lr: {low: 0.01, high: 1, log: true}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "digits.yaml"
    path.write_text(CONFIG)
    return path


def until(true: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 200
    while not true():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)


def steps(trial: Path) -> int:
    """How many steps of a trial its metrics tell of."""
    try:
        return int(json.loads((trial / "metrics.jsonl").read_text().splitlines()[-1])["total"])
    except (OSError, ValueError, IndexError):
        return 0


def children(process: subprocess.Popen[bytes]) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def gone(numbers: list[int]) -> bool:
    """Whether processes have ended, or are dead and only not yet waited for by whoever is left."""
    states = [Path(f"/proc/{number}/stat") for number in numbers]
    return all(not path.exists() or path.read_text().rpartition(")")[2].split()[0] == "Z" for path in states)


def known(folder: Path) -> list[dict[str, Any]]:
    """What the trials of a sweep have come to, without what differs from run to run."""
    found = json.loads((folder / "trials.json").read_text())["trials"]
    return [{key: trial[key] for key in ("number", "state", "value", "values")} for trial in found]


def test_nothing_is_lost_or_doubled_by_kills(
    cli: Cli, command: list[str], environment: dict[str, str], config: Path, tmp_path: Path
) -> None:
    undisturbed = cli("sweep", config, "--out", "whole")
    assert undisturbed.returncode == 0, undisturbed.stderr
    words = [*command, "sweep", str(config), "--out", "killed"]
    killed = tmp_path / "killed"

    with (tmp_path / "log").open("w") as log:
        sweep = subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=log)
        until(lambda: steps(killed / "trial-0000") >= 10, sweep)
        (worker,) = children(sweep)
        os.kill(worker, signal.SIGKILL)
        until(lambda: steps(killed / "trial-0001") >= 10, sweep)
        orphans = children(sweep)
        sweep.kill()
        sweep.wait()
    assert "another one goes on with it" in (tmp_path / "log").read_text()
    assert (killed / "trial-0000" / "summary.json").exists()
    before = (killed / "trial-0000" / "summary.json").stat().st_mtime_ns

    sweep = subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    until(lambda: steps(killed / "trial-0002") >= 10, sweep)
    assert gone(orphans)
    orphans = children(sweep)
    sweep.terminate()
    assert sweep.wait(60) == 130
    assert gone(orphans)

    last = cli("sweep", config, "--out", "killed")
    assert last.returncode == 0, last.stderr
    assert known(killed) == known(tmp_path / "whole")
    assert [trial["number"] for trial in known(killed)] == list(range(TRIALS))
    assert sorted(path.name for path in killed.glob("trial-*")) == [f"trial-{number:04d}" for number in range(TRIALS)]
    assert (killed / "trial-0000" / "summary.json").stat().st_mtime_ns == before
    once_more = cli("sweep", config, "--out", "killed", "--json")
    assert len(json.loads(once_more.stdout)["trials"]) == TRIALS


def test_a_sweep_from_its_ranges_to_the_best_config(cli: Cli, config: Path, tmp_path: Path) -> None:
    ranges = ["--set", "sweep.sampler=grid", "--range", "method.student.optimizer.lr=[0.1, 1e30, 0.01]"]
    found = cli("sweep", config, "--jobs", 2, *ranges)
    assert found.returncode == 0, found.stderr
    folder = tmp_path / "sweeps" / "digits"
    results = json.loads((folder / "trials.json").read_text())
    assert [trial["state"] for trial in results["trials"]] == ["complete", "failed", "complete"]
    assert "training has diverged" in results["trials"][1]["error"]
    assert "labeled samples held out" in found.stdout
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["method.student.optimizer.lr"]) for row in rows] == [0.1, 1e30, 0.01]
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")

    trial, best = mplframe.load(folder / "trial-0000" / "config.yaml"), mplframe.load(folder / "best.yaml")
    assert trial.baselines == ()
    assert (trial.evaluation.split, best.evaluation.split) == ("holdout", "test")
    chosen = results["best"]["values"]["method.student.optimizer.lr"]
    assert best.method.dump()["student"]["optimizer"]["lr"] == chosen
    assert len(best.baselines) == 1
    ran = cli("run", folder / "best.yaml", "--out", "best", "--json")
    assert json.loads(ran.stdout)["split"] == "test"

    shown = cli("sweep", folder, "--report")
    assert shown.returncode == 0, shown.stderr
    assert "2 complete, 1 failed" in " ".join(shown.stdout.split())
    other = cli("sweep", config)
    assert other.returncode == 2
    assert "another sweep was begun in this folder" in other.stderr


def test_what_cannot_be_searched_is_said_before_anything_runs(
    cli: Cli, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = {
        "did you mean 'method.student.optimizer.lr'": ["--range", "method.student.optimiser.lr=1:2"],
        "set evaluation.holdout": ["--set", "evaluation.holdout=null"],
        "sweep.split": ["--set", "sweep.split=test"],
        "set evaluation.every": ["--set", "evaluation.every=0", "--set", "sweep.pruner=median"],
        "a grid needs choices": ["--set", "sweep.sampler=grid"],
        "--resume 'maybe'": ["--resume", "maybe"],
    }
    for message, words in refusals.items():
        refused = cli("sweep", config, *words)
        assert refused.returncode == 2
        assert message in refused.stderr
    monkeypatch.setitem(sys.modules, "optuna", None)
    refused = cli("sweep", config)
    assert (refused.returncode, "pip install optuna" in refused.stderr) == (2, True)
    assert not (tmp_path / "sweeps").exists()
    assert cli("run", config, "--out", "run", "--set", "method.steps=2").returncode == 0
