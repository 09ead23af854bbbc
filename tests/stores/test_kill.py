"""A run that streams through faults, is killed and goes on ends exactly like an undisturbed one on local files."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.integration.test_resume import assert_identical, metrics

from .proxy import FaultProxy, fault_proxy, some
from .servers import Address, Store, upload
from .support import CLASSES, write_shards

pytestmark = [pytest.mark.integration, pytest.mark.stores]

STEPS, FINETUNE = 30, 10
LABELED, UNLABELED, TEST = (25, 15), (60, 45, 80), (30,)
"""Samples of each shard."""

ELSEWHERE = "s3://bucket/killed"

SHORT = 0.5
"""Seconds after which the driver gives a stalled request up."""


def config(address: Address) -> dict[str, Any]:
    """A small run with every kind of state, on the shards at an address."""
    small = {"name": "small_cnn", "channels": 4, "dropout": 0.2}
    return {
        "seed": 3,
        "data": {
            "name": "webdataset",
            "labeled": f"{address.url}/labeled-{{000..001}}.tar",
            "unlabeled": f"{address.url}/unlabeled-{{000..002}}.tar",
            "test": f"{address.url}/test-000.tar",
            "classes": CLASSES,
            "storage_options": address.options,
            "timeout": 5,
            "cache_mb": 0,
            "memory_mb": 0,
        },
        "input": {
            "size": 16,
            "weak": [{"name": "crop", "padding": 2}, {"name": "flip"}],
            "strong": [{"name": "randaugment"}, {"name": "cutout", "size": 4}],
        },
        "method": {
            "name": "mpl",
            "steps": STEPS,
            "batch": {"labeled": 12, "unlabeled": 28},
            "teacher": {"network": small, "optimizer": {"name": "sgd", "lr": 0.05}},
            "student": {"network": small, "optimizer": {"name": "sgd", "lr": 0.05}, "ema": 0.9},
            "feedback": {"name": "dot"},
            "finetune": {"steps": FINETUNE, "batch": 12, "optimizer": {"name": "sgd", "lr": 1e-3}},
        },
        "evaluation": {"every": 20},
        "checkpoint": {"every": 5},
        "trackers": [{"name": "jsonl"}],
        "log_every": 1,
    }


class Runs:
    """Runs of the real command in a folder, each process with a cache of its own or the one before it's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number = itertools.count()

    def start(self, name: str, address: Address, *, workers: int, cache: str) -> subprocess.Popen[str]:
        """Begin or resume the run `name`."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config(address)))
        words = ["run", str(path), "--out", str(self.folder / name), "--set", f"input.workers={workers}"]
        return subprocess.Popen(
            [sys.executable, "-m", "mplframe", *words],
            env={**os.environ, "MPLFRAME_CACHE": str(self.folder / cache), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, process: subprocess.Popen[str]) -> None:
        """Wait for a run to end well."""
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said

    def steps(self, name: str) -> int:
        """How many steps the metrics show."""
        try:
            return int(json.loads((self.folder / name / "metrics.jsonl").read_text().splitlines()[-1])["total"])
        except (OSError, ValueError, IndexError):
            return 0

    def reached(self, name: str, total: int) -> bool:
        """Whether so many steps are done."""
        return self.steps(name) >= total


def kill_when(due: Callable[[], bool], process: subprocess.Popen[str], delay: float) -> None:
    """SIGKILL, some seconds after something is so.

    Raises:
        AssertionError: the process ended before, or it took too long.
    """
    deadline = time.monotonic() + 60
    while not due():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGKILL


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """All three splits."""
    folder = tmp_path / "images"
    for name, counts in {"labeled": LABELED, "unlabeled": UNLABELED, "test": TEST}.items():
        write_shards(folder, counts, name, size=16)
    return folder


@pytest.fixture
def faulty(s3: Store) -> Iterator[FaultProxy]:
    """moto's S3 behind a bad link."""
    with fault_proxy(s3.port, some(8, share=0.12, longest=40_000)) as proxy:
        yield proxy


def last_state(folder: Path) -> Any:
    """The checkpoint of the last step."""
    return torch.load(folder / "checkpoints" / f"step-{STEPS + FINETUNE:09d}.pt", weights_only=True)


def test_killed_at_random_behind_a_bad_link(images: Path, s3: Store, faulty: FaultProxy, tmp_path: Path) -> None:
    runs, rng = Runs(tmp_path), random.Random(11)
    local = runs.start("local", Address(str(images), {}), workers=1, cache="local-cache")
    upload(images, Address(ELSEWHERE, s3.direct().options))
    remote = Address(ELSEWHERE, s3.at(faulty.port, SHORT).options)
    begun = faulty.responses + rng.randrange(2, 12)
    opening = runs.start("killed", remote, workers=2, cache="cache-0")
    kill_when(lambda: faulty.responses >= begun, opening, 0.0)
    for workers in (0, 3):
        wanted = runs.steps("killed") // 5 * 5 + rng.randrange(2, 12)
        process = runs.start("killed", remote, workers=workers, cache=f"cache-{workers}")
        kill_when(partial(runs.reached, "killed", wanted), process, rng.uniform(0, 0.05))
    assert 0 < runs.steps("killed") < STEPS + FINETUNE
    runs.end(runs.start("killed", remote, workers=1, cache="cache-1"))
    runs.end(local)

    assert len(faulty.struck) >= 4, faulty.struck
    assert_identical(last_state(tmp_path / "local"), last_state(tmp_path / "killed"))
    assert metrics(tmp_path / "local") == metrics(tmp_path / "killed")
    for artifact in sorted((tmp_path / "local" / "artifacts").rglob("*.pt")):
        other = tmp_path / "killed" / artifact.relative_to(tmp_path / "local")
        assert_identical(torch.load(artifact, weights_only=True), torch.load(other, weights_only=True))
