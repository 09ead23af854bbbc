"""A learning rate that shrinks by the same factor again and again."""

from functools import partial
from typing import Annotated, Literal, final

from pydantic import Field, PositiveInt

from mplframe.contracts.optimizer import Schedule
from mplframe.schedules.warmup import WarmupConfig


def exponential(step: int, _: int, *, rate: float, every: int, staircase: bool) -> float:
    """`rate ^ (step / every)`; a staircase rounds the exponent down."""
    return float(rate ** (step // every if staircase else step / every))


@final
class Exponential(Schedule):
    """Linear warm-up to 1, then `rate ^ ((step - warmup) / every)`; a staircase rounds the exponent down.

    The schedule of EfficientNet, used with RMSProp by Noisy Student (section 3.1) and MPL v4 (C.4).
    """

    class Config(WarmupConfig):
        """Settings of the exponential schedule.

        Attributes:
            rate: what the learning rate is multiplied by every `every` steps.
            every: steps, counted from the end of the warm-up. The default is 2.4 epochs of the 1,281,167 images of
                ImageNet, 2,048 a step.
            staircase: keep the rate for `every` steps at a time rather than shrink it a little in each.
        """

        name: Literal["exponential"] = "exponential"
        rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.97
        every: PositiveInt = 1501
        staircase: bool = True

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def at(self, step: int, steps: int) -> float:
        """What the peak learning rate is multiplied by in step `step` (from 0) of `steps`.

        Raises:
            UserError: the warm-up takes all steps.
        """
        config = self.config
        formula = partial(exponential, rate=config.rate, every=config.every, staircase=config.staircase)
        return config.warmed_up(step, steps, formula)
