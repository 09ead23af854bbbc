"""A learning rate that drops at equal distances."""

from functools import partial
from typing import Annotated, Literal, final

from pydantic import Field, PositiveInt

from mplframe.contracts.optimizer import Schedule
from mplframe.schedules.warmup import WarmupConfig


def equal_steps(step: int, steps: int, *, count: int, factor: float) -> float:
    """`factor ^ floor(count step / steps)`: `count` parts of equal length, from 1 to `factor ^ (count - 1)`."""
    return factor ** (count * step // steps)


@final
class EqualSteps(Schedule):
    """Linear warm-up to 1, then parts of equal length, each with `factor` times the rate of the one before.

    Billion-scale, section 4.1, halves 13 times in pre-training. It divides training into 13 parts and drops the rate
    after each (section 4.3), so that the last drop falls on the end. It starts the warm-up at the rate for 256 images:
    `warmup_from` is 256 / 1,536. In finetuning it multiplies three times by 0.1.
    """

    class Config(WarmupConfig):
        """Settings of the schedule of equal steps.

        Attributes:
            count: parts that the steps after the warm-up are divided into.
            factor: what the learning rate is multiplied by after each.
        """

        name: Literal["equal_steps"] = "equal_steps"
        count: PositiveInt = 13
        factor: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def at(self, step: int, steps: int) -> float:
        """What the peak learning rate is multiplied by in step `step` (from 0) of `steps`.

        Raises:
            UserError: the warm-up takes all steps.
        """
        formula = partial(equal_steps, count=self.config.count, factor=self.config.factor)
        return self.config.warmed_up(step, steps, formula)
