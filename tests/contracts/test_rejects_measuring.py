"""The suites have teeth: broken evaluators and trackers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from broken import Config, rejects
from torch import Tensor

from mplframe.contracts.watching import Evaluator, Record, Tracker
from mplframe.testing import check_evaluator, check_tracker

Outputs = Iterable[tuple[Tensor, Tensor]]


def accuracies(outputs: Outputs) -> list[Tensor]:
    return [(logits.argmax(1) == labels).float().mean() for logits, labels in outputs]


def mean_of_means(outputs: Outputs) -> Any:
    return {"top1": float(torch.stack(accuracies(outputs)).mean())}


def overwriting(outputs: Outputs) -> Any:
    return {"greatest": max(float(logits.zero_().max()) for logits, _ in outputs)}


EVALUATORS = {
    "mean of means": (mean_of_means, "that of the whole split"),
    "first batch only": (lambda outputs: {"top1": float(accuracies([next(iter(outputs))])[0])}, "of 50 samples"),
    "a tensor": (lambda outputs: {"top1": accuracies(outputs)[0]}, "not a float"),
    "a role": (lambda outputs: {"student/top1": float(accuracies(outputs)[0])}, "by the engine"),
    "nothing": (lambda outputs: dict.fromkeys(accuracies(outputs)[:0], 0.0), "no metrics"),
    "in place": (overwriting, "changed in place"),
}


@pytest.mark.parametrize("case", EVALUATORS)
def test_evaluators(case: str) -> None:
    formula, promise = EVALUATORS[case]

    class Broken(Evaluator):
        evaluate = lambda self, outputs, classes: formula(outputs)  # noqa: E731

    Broken.Config = Config
    rejects(lambda: check_evaluator(Broken), promise)


class Steps(Tracker):
    """Numbers of training records in a file; what is there already stays."""

    Config = Config

    def open(self, folder: Path, *, total_steps: int, done: int) -> None:
        self.file = (folder / "steps.txt").open("a")

    def log(self, record: Record) -> None:
        if record.split == "train":
            print(record.total, file=self.file)

    def close(self) -> None:
        self.file.close()


class Slow(Steps):
    def progress(self, stage: str, step: int, steps: int, total: int) -> None:
        until = time.thread_time() + 2e-3
        while time.thread_time() < until:
            pass


def test_trackers(tmp_path: Path) -> None:
    def read(run: Path) -> list[int]:
        return [int(line) for line in (run / "steps.txt").read_text().split()]

    for case in ("again", "slow"):
        (tmp_path / case).mkdir()
    rejects(lambda: check_tracker(Steps, tmp_path / "again", read=read), "earlier life have to be dropped")
    rejects(lambda: check_tracker(Slow, tmp_path / "slow", read=None), "next to nothing")
