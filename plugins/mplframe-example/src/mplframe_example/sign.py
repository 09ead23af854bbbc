"""Feedback of one bit: whether the pseudo labels helped."""

from typing import Literal, final

from mplframe.config.base import ComponentConfig
from mplframe.contracts.feedback import Feedback, FeedbackEstimator, StudentStep
from torch import Tensor


def sign(progress: Tensor) -> Tensor:
    """[] 1 where the labeled loss fell to first order, -1 where it rose, 0 where it stayed.

    Args:
        progress: [] `-<v, f(g) - f(0)>`, the fall of the labeled loss (MPL v4, eq. 12).
    """
    return progress.sign()


@final
class Sign(FeedbackEstimator):
    """`h = sign(-<v, f(g) - f(0)>)`: the direction of the dot product without its scale, as in signSGD."""

    class Config(ComponentConfig):
        """No settings."""

        name: Literal["sign"] = "sign"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def estimate(self, step: StudentStep) -> Feedback:
        return Feedback(sign(-step.inner(step.labeled_gradient(), step.label_part)), "mean")
