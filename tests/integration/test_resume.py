"""A run that is killed and resumed ends exactly like one that wasn't, through the real command."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from .conftest import Cli

pytestmark = pytest.mark.integration

TOTAL = 25
"""Steps of all stages of the `small` config."""


def newest(folder: Path) -> Path:
    return sorted((folder / "checkpoints").glob("step-*.pt"))[-1]


def state(folder: Path) -> dict[str, Any]:
    path = newest(folder)
    assert path.name == f"step-{TOTAL:09d}.pt"
    return torch.load(path, weights_only=True)


def assert_identical(a: Any, b: Any, path: str = "") -> None:
    assert type(a) is type(b), path
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_identical(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_identical(x, y, f"{path}.{i}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif not path.endswith("seconds"):
        assert a == b, path


def metrics(folder: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        record.pop("timing")
    return records


def kill_after(total: int, folder: Path, process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal as soon as the metrics show that `total` steps are done."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            lines = (folder / "metrics.jsonl").read_text().splitlines()
            if lines and json.loads(lines[-1])["total"] >= total:
                break
        except (OSError, ValueError):
            pass
        time.sleep(0.001)
    process.send_signal(number)
    process.wait(60)


@pytest.fixture
def undisturbed(cli: Cli, small: Path, tmp_path: Path) -> Path:
    done = cli("run", small, "--out", "whole")
    assert done.returncode == 0, done.stderr
    return tmp_path / "whole"


def test_killed_in_every_stage_and_resumed(
    cli: Cli, command: list[str], environment: dict[str, str], small: Path, tmp_path: Path, undisturbed: Path
) -> None:
    killed = tmp_path / "killed"
    for total in (3, 11, 22):
        process = subprocess.Popen(
            [*command, "run", str(small), "--out", "killed"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
        )
        kill_after(total, killed, process, signal.SIGKILL)
    last = cli("run", small, "--out", "killed", "--set", "input.workers=2")
    # The last kill may have come after the end: then the folder holds a finished run already.
    assert last.returncode == 0 or "finished run" in last.stderr, last.stderr
    assert_identical(state(undisturbed), state(killed))
    assert metrics(undisturbed) == metrics(killed)


def test_told_to_stop_saves_and_resumes_elsewhere(
    cli: Cli, command: list[str], environment: dict[str, str], small: Path, tmp_path: Path, undisturbed: Path
) -> None:
    process = subprocess.Popen(
        [*command, "run", str(small), "--out", "stopped"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    kill_after(9, tmp_path / "stopped", process, signal.SIGTERM)
    assert process.returncode == 130
    again = cli("run", small, "--out", "moved", "--resume", "stopped")
    assert again.returncode == 0, again.stderr
    assert_identical(state(undisturbed), state(tmp_path / "moved"))


def test_the_written_config_runs_again_with_the_same_numbers(cli: Cli, tmp_path: Path, undisturbed: Path) -> None:
    again = cli("run", undisturbed / "config.yaml", "--out", "again")
    assert again.returncode == 0, again.stderr
    assert_identical(state(undisturbed), state(tmp_path / "again"))
    assert metrics(undisturbed) == metrics(tmp_path / "again")


def test_going_on_from_a_finished_run_trains_nothing(cli: Cli, small: Path, undisturbed: Path, tmp_path: Path) -> None:
    done = cli("run", small, "--out", "copy", "--resume", undisturbed, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads((undisturbed / "summary.json").read_text())
    assert json.loads(done.stdout)["final"] == summary["final"]
    assert (tmp_path / "copy" / "metrics.jsonl").read_text() == ""


def test_a_finished_run_is_not_overwritten(cli: Cli, small: Path, undisturbed: Path) -> None:
    before = (undisturbed / "summary.json").read_bytes()
    refused = cli("run", small, "--out", "whole")
    assert refused.returncode == 2
    assert "--resume never" in refused.stderr
    assert (undisturbed / "summary.json").read_bytes() == before


def test_another_configuration_is_refused(cli: Cli, small: Path, undisturbed: Path) -> None:
    (undisturbed / "summary.json").unlink()
    other = cli("run", small, "--out", "whole", "--set", "method.student.network.channels=6")
    assert other.returncode == 2
    assert "method.student.network.channels: 4 then, 6 now" in other.stderr
