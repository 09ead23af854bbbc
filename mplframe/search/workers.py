"""Processes that train trials, and what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

State = Literal["complete", "pruned", "failed"]
"""How a trial can end."""


@dataclass(frozen=True)
class Task:
    """Run this trial, or go on with it; to a worker.

    Attributes:
        folder: of the run.
        config: of the run, as plain data.
        metric: that trials are judged by.
        command: what was typed, for the run's manifest.
    """

    folder: Path
    config: dict[str, Any]
    metric: str
    command: Sequence[str]


@dataclass(frozen=True)
class Evaluated:
    """The metric after `step` steps of all stages; from a worker, which waits for a `Verdict`."""

    step: int
    value: float


@dataclass(frozen=True)
class Verdict:
    """Whether the trial is to end here."""

    prune: bool


@dataclass(frozen=True)
class Ended:
    """What became of a trial; from a worker.

    Attributes:
        state: how it ended.
        value: of the metric; None where it failed.
        seconds: of a complete trial, in all its lives.
        error: of a failed one.
    """

    state: State
    value: float | None = None
    seconds: float | None = None
    error: str | None = None


STDERR = 2
PATIENCE = 60.0
"""Seconds that a worker has for saving where it is."""


class Worker:
    """One process; see `mplframe.search.worker`.

    Signals of the terminal don't reach it: it stops when `end` says so, or when this process is gone.

    Args:
        environment: of the process.

    Attributes:
        trial: the number of the one that it runs; None while it waits.
        connection: to the process.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.trial: int | None = None
        self.connection: Connection[Any, Any]
        self.connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mplframe.search.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=STDERR,
                start_new_session=True,
            )

    def begin(self, trial: int, task: Task) -> None:
        """Hand it a trial."""
        self.trial = trial
        self.tell(task)

    def tell(self, message: Task | Verdict) -> None:
        """Send a message. Where the process has died, `hear` says so."""
        with suppress(OSError):
            self.connection.send(message)

    def hear(self) -> Evaluated | Ended | None:
        """The message that has come; None where the process has died."""
        try:
            found: Evaluated | Ended = self.connection.recv()
        except (EOFError, OSError):
            return None
        return found

    def end(self) -> None:
        """Tell it to save where it is and to stop."""
        self.connection.close()

    def exit_code(self, *, patience: float = PATIENCE) -> int:
        """Wait for its end, which comes by force after `patience` seconds."""
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End it at once; its exit code."""
        self._process.kill()
        return self._process.wait()


def ready(workers: Sequence[Worker], seconds: float) -> list[Worker]:
    """Those that have something to say, within some seconds."""
    found = wait([worker.connection for worker in workers], seconds)
    return [worker for worker in workers if worker.connection in found]


def environment(place: int, jobs: int, *, devices: Sequence[str]) -> dict[str, str]:
    """Of one of several workers: its share of the CPU's cores, and of the GPUs where there are several.

    Args:
        place: of the worker, from 0.
        jobs: how many workers there are.
        devices: GPUs, as `CUDA_VISIBLE_DEVICES` names them.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    own = {"CUDA_VISIBLE_DEVICES": devices[place % len(devices)]} if len(devices) > 1 else {}
    return {"OMP_NUM_THREADS": str(max(1, cores // jobs)), **os.environ, **own}
