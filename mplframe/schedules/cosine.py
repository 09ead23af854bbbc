"""Half a cosine from the peak to the end."""

import math
from typing import Annotated, Literal, final

from pydantic import Field, NonNegativeInt

from mplframe.config.base import ComponentConfig
from mplframe.contracts.optimizer import Schedule
from mplframe.schedules.warmup import check_warmup, warmup_factor


def cosine(progress: float, final: float) -> float:
    """`final + (1 - final) (1 + cos(pi progress)) / 2`: from 1 at progress 0 to `final` at progress 1."""
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


@final
class Cosine(Schedule):
    """Linear warm-up to 1, then half a cosine down to `final`, which would be reached in step `steps`.

    Loshchilov & Hutter, "SGDR" (ICLR 2017), without restarts; MPL v4, C.4.
    """

    class Config(ComponentConfig):
        """Settings of the cosine schedule.

        Attributes:
            warmup: steps until the full rate; fewer than the stage has.
            final: fraction of the peak learning rate that the cosine ends at.
        """

        name: Literal["cosine"] = "cosine"
        warmup: NonNegativeInt = 0
        final: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def at(self, step: int, steps: int) -> float:
        """What the peak learning rate is multiplied by in step `step` (from 0) of `steps`.

        Raises:
            UserError: the warm-up takes all steps.
        """
        warmup = self.config.warmup
        check_warmup(warmup, steps)
        if step < warmup:
            return warmup_factor(step, warmup)
        return cosine((step - warmup) / (steps - warmup), self.config.final)
