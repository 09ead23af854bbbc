"""Schedules of the learning rate, and the linear warm-up that all of them share."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Annotated, Literal, final

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from mplframe.config.base import ComponentConfig
from mplframe.contracts.optimizer import Schedule
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


@final
class Constant(Schedule):
    """1, after a linear warm-up. MPL v4, section 3.1 trains TwoMoon like this, and section 3.2 finetunes."""

    class Config(WarmupConfig):
        """Settings of the constant schedule."""

        name: Literal["constant"] = "constant"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def at(self, step: int, steps: int) -> float:
        """What the peak learning rate is multiplied by in step `step` (from 0) of `steps`.

        Raises:
            UserError: the warm-up takes all steps.
        """
        return self.config.warmed_up(step, steps, lambda step, steps: 1.0)


def cosine(step: int, steps: int, *, final: float) -> float:
    """`final + (1 - final) (1 + cos(pi step / steps)) / 2`: from 1 in step 0 to `final` in step `steps`."""
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * step / steps))


@final
class Cosine(Schedule):
    """Linear warm-up to 1, then half a cosine down to `final`, which would be reached in step `steps`.

    Loshchilov & Hutter, "SGDR" (ICLR 2017), without restarts; MPL v4, C.4.
    """

    class Config(WarmupConfig):
        """Settings of the cosine schedule.

        Attributes:
            final: fraction of the peak learning rate that the cosine ends at.
        """

        name: Literal["cosine"] = "cosine"
        final: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def at(self, step: int, steps: int) -> float:
        """What the peak learning rate is multiplied by in step `step` (from 0) of `steps`.

        Raises:
            UserError: the warm-up takes all steps.
        """
        return self.config.warmed_up(step, steps, partial(cosine, final=self.config.final))


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
