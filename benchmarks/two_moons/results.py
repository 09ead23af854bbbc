"""Finished cells on disk, and what they say: rates and means with their intervals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.two_moons.settings import Cell
from benchmarks.two_moons.trial import Result

SOLVED = 0.95
"""A network has solved the problem when more than this part of all points is classified rightly."""
DRAWN = 2
"""Seeds whose weights are kept of the cells that can be drawn."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


class Store:
    """Cells by name in one JSON file, written whenever some have finished.

    A cell has the accuracies of student and teacher at the end, one a seed; of the student's history, for each tenth of
    the steps, the part of seeds solved and the mean accuracy; and the weights of a few pairs.

    Args:
        path: read where it exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells: dict[str, dict[str, Any]] = json.loads(path.read_text())["cells"] if path.exists() else {}

    def has(self, name: str, cell: Cell) -> bool:
        """Whether this cell has finished with these very settings and seeds."""
        found = self.cells.get(name)
        return found is not None and found["setting"] == cell.setting.dump() and found["seeds"] == list(cell.seeds)

    def add(self, results: dict[str, tuple[Cell, Result]], seconds: float) -> None:
        """Keep finished cells; `seconds` is what they took together."""
        for name, (cell, result) in results.items():
            drawn = DRAWN if name.startswith(("fast/", "paper/")) else 0
            self.cells[name] = {
                "setting": cell.setting.dump(),
                "seeds": list(cell.seeds),
                "student": _rounded(result.student),
                "teacher": _rounded(result.teacher),
                "history": [_rounded([(check > SOLVED).float().mean(), check.mean()]) for check in result.history],
                "weights": [[_rounded(net) for net in pair] for pair in result.weights[:drawn]],
                "seconds": round(seconds / len(results), 1),
            }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(cell)}" for name, cell in sorted(self.cells.items()))
        partial = self.path.with_suffix(".partial")
        partial.write_text(f'{{"solved": {SOLVED}, "cells": {{\n{lines}\n}}}}\n')
        partial.replace(self.path)


def success(accuracies: Sequence[float]) -> Interval:
    """The part that solved the problem, with Wilson's interval."""
    count = sum(a > SOLVED for a in accuracies)
    interval = stats.binomtest(count, len(accuracies)).proportion_ci(method="wilson")
    return Interval(count / len(accuracies), float(interval.low), float(interval.high))


def mean(accuracies: Sequence[float]) -> Interval:
    """The mean, with the percentile bootstrap's interval of 10,000 resamples."""
    values = np.asarray(accuracies)
    resampled = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


@dataclass(frozen=True)
class Comparison:
    """Of two cells on the same seeds.

    Attributes:
        only_first: seeds that only the first solved.
        only_second: seeds that only the second solved.
        p: of McNemar's exact test, two-sided: chance of such a difference where there is none.
    """

    only_first: int
    only_second: int
    p: float


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Which solved seeds that the other didn't.

    Args:
        first: accuracies, one a seed.
        second: of the same seeds, in the same order.
    """
    pairs = [(a > SOLVED, b > SOLVED) for a, b in zip(first, second, strict=True)]
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    differing = only_first + only_second
    p = float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0
    return Comparison(only_first, only_second, p)


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 4) for value in values]
