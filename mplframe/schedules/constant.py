"""A learning rate that stays."""

from typing import Literal, final

from mplframe.contracts.optimizer import Schedule
from mplframe.schedules.warmup import WarmupConfig


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
