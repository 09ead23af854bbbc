"""The contract of schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mplframe.contracts.optimizer import Schedule
from mplframe.testing.component import made


def check_schedule(make: Callable[[], Schedule], *, lengths: Sequence[int] = (1, 2, 10, 1000)) -> None:
    """Hold a schedule against its contract: factors in [0, 1], some above 0, the same in whatever order they are asked.

    Args:
        make: makes the schedule.
        lengths: numbers of steps that it is asked for.

    Raises:
        AssertionError: names the broken promise.
    """
    schedule, backwards = made(make, Schedule), make()
    for steps in lengths:
        factors = [schedule.at(step, steps) for step in range(steps)]
        for step, factor in enumerate(factors):
            assert isinstance(factor, float | int), f"step {step} of {steps}: {type(factor).__name__}, not a number"
            assert math.isfinite(factor) and 0.0 <= factor <= 1.0, (  # noqa: PT018 - one promise
                f"step {step} of {steps}: {factor} isn't in [0, 1]; it is what the peak rate is multiplied by"
            )
        assert any(factors), f"with {steps} steps the learning rate is always 0"
        again = [backwards.at(step, steps) for step in reversed(range(steps))]
        assert again[::-1] == factors, f"with {steps} steps the rate depends on what was asked before: keep no state"
