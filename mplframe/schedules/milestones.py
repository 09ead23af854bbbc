"""A learning rate that drops at given steps."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, final

from pydantic import Field, PositiveInt, field_validator

from mplframe.contracts.optimizer import Schedule
from mplframe.errors import UserError
from mplframe.schedules.warmup import WarmupConfig

Milestone = PositiveInt | Annotated[float, Field(gt=0.0, lt=1.0)]


def milestones(step: int, *, at: tuple[float, ...], factor: float) -> float:
    """`factor` to the power of how many of the steps `at` have been reached."""
    return factor ** sum(step >= milestone for milestone in at)


@final
class Milestones(Schedule):
    """Linear warm-up to 1, then `factor` times the rate from each milestone on.

    The default is He et al., "Deep Residual Learning" (CVPR 2016), section 4.2: 32k and 48k of 64k steps.
    """

    class Config(WarmupConfig):
        """Settings of the schedule of milestones.

        Attributes:
            at: rising. Whole numbers are steps of the stage, from its start; numbers below 1 are fractions of it.
            factor: what the learning rate is multiplied by at each.
        """

        name: Literal["milestones"] = "milestones"
        at: tuple[Milestone, ...] = (0.5, 0.75)
        factor: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1

        @field_validator("at")
        @classmethod
        def _rising_in_one_unit(cls, at: tuple[float, ...]) -> tuple[float, ...]:
            if len({milestone < 1 for milestone in at}) > 1:
                raise ValueError("give all milestones in steps or all as fractions")
            if any(a >= b for a, b in pairwise(at)):
                raise ValueError("milestones have to rise")
            return at

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def at(self, step: int, steps: int) -> float:
        """What the peak learning rate is multiplied by in step `step` (from 0) of `steps`.

        Raises:
            UserError: the warm-up takes all steps, or a milestone comes after the last one.
        """
        config = self.config
        at = tuple(milestone * steps if milestone < 1 else milestone for milestone in config.at)
        if at and at[-1] >= steps:
            raise UserError(
                f"the milestone {at[-1]} is beyond the {steps} steps of the stage; set it below {steps}, or give "
                "fractions of the stage such as 0.5"
            )
        return config.warmed_up(step, steps, lambda _, __: milestones(step, at=at, factor=config.factor))
