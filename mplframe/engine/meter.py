"""Metrics between two records: kept on the device, fetched together, averaged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import pstdev

from torch import Tensor

from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import QUOTIENT, Metrics
from mplframe.errors import RunError


class Meter:
    """Collects the metrics of each step and gives their means over a window of steps."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._values: dict[str, list[float]] = {}
        self._pending: list[tuple[str, Tensor]] = []

    def add(self, metrics: Metrics) -> None:
        """Take a step's metrics without waiting for them."""
        self._pending.extend(metrics.items())

    def check(self, step: int) -> None:
        """Fetch what is pending and see that losses are finite.

        Raises:
            RunError: one isn't; names it and says what to try.
        """
        fetched = self._backend.fetch([value for _, value in self._pending])
        for (name, _), value in zip(self._pending, fetched, strict=True):
            if name.endswith(QUOTIENT) and (whole := self._values.get(name.removesuffix(QUOTIENT))):
                whole[-1] = whole[-1] / value if value else math.nan
                continue
            if _watched(name) and not math.isfinite(value):
                raise RunError(
                    f"{name} is {value} by step {step}: training has diverged. Lower the learning rate or the weight "
                    "of the feedback, add a warm-up, or limit the gradient (`clip`); earlier checkpoints are whole"
                )
            self._values.setdefault(name, []).append(value)
        self._pending.clear()

    def means(self, step: int) -> dict[str, float]:
        """The mean of each metric since the last call, and the deviation of `h`; what was never known is left out.

        Raises:
            RunError: as `check`.
        """
        self.check(step)
        means = {name: _mean(values) for name, values in self._values.items()}
        means |= {f"{name}_deviation": pstdev(values) for name, values in self._values.items() if _last(name) == "h"}
        self._values.clear()
        return {name: mean for name, mean in means.items() if not math.isnan(mean)}

    def state_dict(self) -> dict[str, list[float]]:
        """The window so far; call `check` first."""
        assert not self._pending
        return {name: list(values) for name, values in self._values.items()}

    def load_state_dict(self, state: Mapping[str, list[float]]) -> None:
        """Take back what `state_dict` gave."""
        self._values = {name: list(values) for name, values in state.items()}


UNUSED_SHARE, UNUSED_STEPS = 0.01, 200
"""A term that uses a smaller share of its samples for so many steps is told of."""


class UnusedTerms:
    """Watches the thresholds of losses: which terms have used hardly a sample for long.

    Metrics named `ROLE/LOSS_used` are the share of samples that got over a loss's threshold.
    """

    def __init__(self) -> None:
        self._since: dict[str, int] = {}
        self._told: set[str] = set()

    def look(self, means: Mapping[str, float], step: int, *, window: int) -> list[str]:
        """What to say of the means of the window of steps that ends with `step`; each term is told of once a stage."""
        said = []
        for name, share in means.items():
            if not name.endswith("_used"):
                continue
            if share >= UNUSED_SHARE:
                self._since.pop(name, None)
                continue
            since = self._since.setdefault(name, step - window)
            if step - since >= UNUSED_STEPS and name not in self._told:
                self._told.add(name)
                said.append(
                    f"{name.removesuffix('_used')} used {share:.1%} of its samples in the {step - since} steps to "
                    f"{step}: hardly one gets over its threshold, so that the term teaches nothing. Lower `threshold`, "
                    "train longer, take label smoothing out, or choose `uda` without a threshold"
                )
        return said


def _watched(name: str) -> bool:
    """Whether the metric has to be finite: losses and the feedback h."""
    return _last(name) in ("loss", "h") or name.endswith("_loss")


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan
