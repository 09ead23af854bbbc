"""Credit for each label by itself, where the papers share one h among the whole batch."""

from typing import Literal, final

from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.feedback import Derivative, Feedback, FeedbackEstimator, StudentStep


def per_example(slopes: Tensor, labels: Tensor) -> Tensor:
    """`h_i = -dR/dq_i` at the label that sample i was given.

    To first order, the batch's one h is the sum of these; what sample i gets to hear of the others' labels there is
    noise of mean zero.

    Args:
        slopes: [N, C] dR/dq, the derivatives of the labeled loss with respect to the pseudo-label distributions.
        labels: [N] int64.

    Returns:
        [N] positive where the label helped.
    """
    return -slopes.gather(1, labels.unsqueeze(1)).squeeze(1)


@final
class PerExample(FeedbackEstimator):
    """`h_i = -dR/dq_i` at the label, on the scale of the gradient of the labeled loss. Costs one JVP of the student."""

    requires = frozenset({"old_weights"})

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            derivative: how the directional derivative of the student is taken: by `forward`-mode differentiation, or by
                central `differences` where the network or the device has none.
        """

        name: Literal["per_example"] = "per_example"
        derivative: Derivative = "forward"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def estimate(self, step: StudentStep) -> Feedback:
        direction = step.pullback(step.labeled_gradient())
        slopes = step.sensitivity(direction, derivative=self.config.derivative)
        return Feedback(per_example(slopes, step.labels), "sum")
