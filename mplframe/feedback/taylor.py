"""The difference of two labeled losses, which public code uses; kept to be compared with."""

from typing import Literal, final

from mplframe.config.base import ComponentConfig
from mplframe.contracts.feedback import Feedback, FeedbackEstimator, StudentStep


@final
class Taylor(FeedbackEstimator):
    """`h = R(theta) - R(theta')`, one coefficient for the batch: `dot` to first order in the learning rate.

    Unlike `dot` it also counts what momentum and weight decay have done, which no label has a part in. Costs two
    labeled forwards in place of a labeled forward and backward. Both losses see the same samples in the same mode with
    the same dropout: BatchNorm would otherwise make a difference many times the true one.
    """

    requires = frozenset({"old_loss"})

    class Config(ComponentConfig):
        """No settings."""

        name: Literal["taylor"] = "taylor"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def estimate(self, step: StudentStep) -> Feedback:
        return Feedback(step.labeled_loss_before - step.labeled_loss(), "sum")
