"""A learning rate that stays."""

from typing import Literal, final

from pydantic import NonNegativeInt

from mplframe.config.base import ComponentConfig
from mplframe.contracts.optimizer import Schedule
from mplframe.schedules.warmup import check_warmup, warmup_factor


@final
class Constant(Schedule):
    """1, after a linear warm-up. MPL v4, section 3.1 trains TwoMoon like this."""

    class Config(ComponentConfig):
        """Settings of the constant schedule.

        Attributes:
            warmup: steps until the full rate; fewer than the stage has.
        """

        name: Literal["constant"] = "constant"
        warmup: NonNegativeInt = 0

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def at(self, step: int, steps: int) -> float:
        """What the peak learning rate is multiplied by in step `step` (from 0) of `steps`.

        Raises:
            UserError: the warm-up takes all steps.
        """
        check_warmup(self.config.warmup, steps)
        return warmup_factor(step, self.config.warmup)
