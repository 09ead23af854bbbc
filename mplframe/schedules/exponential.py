"""A learning rate that shrinks by the same factor again and again."""

from typing import Annotated, Literal, final

from pydantic import Field, NonNegativeInt, PositiveInt

from mplframe.config.base import ComponentConfig
from mplframe.contracts.optimizer import Schedule
from mplframe.schedules.warmup import check_warmup, warmup_factor


@final
class Exponential(Schedule):
    """Linear warm-up to 1, then `rate ^ ((step - warmup) / every)`; a staircase rounds the exponent down.

    The schedule of EfficientNet, used with RMSProp by Noisy Student (section 3.1) and MPL v4 (C.4).
    """

    class Config(ComponentConfig):
        """Settings of the exponential schedule.

        Attributes:
            rate: what the learning rate is multiplied by every `every` steps.
            every: steps. The default is 2.4 epochs of the 1,281,167 images of ImageNet, 2,048 a step.
            staircase: keep the rate for `every` steps at a time rather than shrink it a little in each.
            warmup: steps until the full rate; fewer than the stage has. The decay counts from their end.
        """

        name: Literal["exponential"] = "exponential"
        rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.97
        every: PositiveInt = 1501
        staircase: bool = True
        warmup: NonNegativeInt = 0

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def at(self, step: int, steps: int) -> float:
        """What the peak learning rate is multiplied by in step `step` (from 0) of `steps`.

        Raises:
            UserError: the warm-up takes all steps.
        """
        config = self.config
        check_warmup(config.warmup, steps)
        if step < config.warmup:
            return warmup_factor(step, config.warmup)
        decayed = step - config.warmup
        return config.rate ** (decayed // config.every if config.staircase else decayed / config.every)
