"""What a sweep and the processes that run its trials tell each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
