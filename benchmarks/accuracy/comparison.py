"""Means over seeds, and differences between variants at the same seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from scipy.stats import t as student_t

Values = Mapping[int, float]
"""One number by seed."""


@dataclass(frozen=True)
class Comparison:
    """What `a - b` is over the seeds that both have.

    Attributes:
        seeds: how many.
        mean: of the differences.
        half_width: of the interval around the mean; NaN below two seeds.
        better: seeds at which a is greater.
        ties: seeds at which they are equal.
    """

    seeds: int
    mean: float
    half_width: float
    better: int
    ties: int


def compare(a: Values, b: Values, *, confidence: float = 0.95) -> Comparison | None:
    """The paired difference with Student's t interval: `mean +- t s / sqrt(n)` with n - 1 degrees of freedom.

    None where no seed is in both.
    """
    pairs = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    if not pairs:
        return None
    half_width = math.nan
    if len(pairs) > 1:
        quantile = float(student_t.ppf(0.5 + confidence / 2, len(pairs) - 1))
        half_width = quantile * statistics.stdev(pairs) / math.sqrt(len(pairs))
    return Comparison(
        seeds=len(pairs),
        mean=statistics.fmean(pairs),
        half_width=half_width,
        better=sum(pair > 0 for pair in pairs),
        ties=sum(pair == 0 for pair in pairs),
    )


def spread(values: Values) -> float:
    """Standard deviation between seeds; NaN below two."""
    return statistics.stdev(values.values()) if len(values) > 1 else math.nan
