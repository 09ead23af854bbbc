"""The linear start that all schedules share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field, NonNegativeInt

from mplframe.config.base import ComponentConfig
from mplframe.errors import UserError


class WarmupConfig(ComponentConfig):
    """Settings of every schedule.

    Attributes:
        warmup: steps until the full rate; fewer than the stage has.
        warmup_from: fraction of the peak learning rate that the warm-up rises from.
    """

    warmup: NonNegativeInt = 0
    warmup_from: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0

    def warmed_up(self, step: int, steps: int, after: Callable[[int, int], float]) -> float:
        """The warm-up, and then `after`.

        Args:
            step: from 0.
            steps: of the whole stage.
            after: the factor in a step, counted from the end of the warm-up, of so many.

        Raises:
            UserError: the warm-up takes all steps.
        """
        if self.warmup >= steps:
            raise UserError(
                f"warmup is {self.warmup} steps, but the stage has only {steps}; set warmup below {steps} or train for "
                "longer"
            )
        if step < self.warmup:
            return rise(step, self.warmup, self.warmup_from)
        return after(step - self.warmup, steps - self.warmup)


def rise(step: int, warmup: int, start: float) -> float:
    """`start + (1 - start) (step + 1) / warmup`: step 0 already learns, step `warmup - 1` has the full rate."""
    return start + (1.0 - start) * (step + 1) / warmup
