"""Half a cosine from the peak to the end."""

import math
from functools import partial
from typing import Annotated, Literal, final

from pydantic import Field

from mplframe.contracts.optimizer import Schedule
from mplframe.schedules.warmup import WarmupConfig


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
