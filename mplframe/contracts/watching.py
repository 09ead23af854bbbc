"""What watches a run: trackers and evaluators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mplframe.config.base import ComponentConfig


@dataclass(frozen=True)
class Record:
    """One set of metrics.

    Attributes:
        stage: name of the stage.
        step: steps of this stage that are done.
        total: steps of all stages that are done.
        split: `train`, or what networks are judged on: `test` or `holdout`.
        values: metrics by name; a network's are prefixed by its role, as in `student/top1`.
        timing: what differs from run to run: seconds, images per second. Kept apart from what is reproducible.
    """

    stage: str
    step: int
    total: int
    split: str
    values: Mapping[str, float]
    timing: Mapping[str, float]


class Tracker(ABC):
    """Receives records. Opened once per process that trains, closed at the end whatever happens."""

    Config: type[ComponentConfig]

    @abstractmethod
    def open(self, folder: Path, *, total_steps: int, done: int) -> None:
        """Begin, or go on after `done` steps of all stages: later records of an earlier life are dropped."""

    @abstractmethod
    def log(self, record: Record) -> None:
        """Take one record."""

    def progress(self, stage: str, step: int, steps: int, total: int) -> None:
        """Called after every step; must cost next to nothing. `total` counts the steps of all stages."""
        return

    def message(self, text: str) -> None:
        """A line for people."""
        return

    @abstractmethod
    def close(self) -> None:
        """Write out what is pending."""


class Evaluator(ABC):
    """Measures a classifier on a whole split."""

    Config: type[ComponentConfig]

    @abstractmethod
    def evaluate(self, outputs: Iterable[tuple[Tensor, Tensor]], classes: int) -> Mapping[str, float]:
        """Metrics by name, such as `top1` in [0, 1].

        Args:
            outputs: pairs of logits [N, classes] float32 and labels [N] int64 on the device, batch by batch.
            classes: length of the logits.
        """
