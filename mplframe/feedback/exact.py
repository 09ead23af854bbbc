"""The gradient of the labeled loss with respect to the pseudo-label distributions themselves."""

from typing import Literal, final

from mplframe.config.base import ComponentConfig
from mplframe.contracts.feedback import Derivative, Feedback, FeedbackEstimator, StudentStep


@final
class Exact(FeedbackEstimator):
    """`h_ic = -dR/dq_ic` for every class, on the scale of the gradient of the labeled loss. Costs one JVP.

    With soft labels the teacher's gradient is exactly that of the labeled loss through the optimizer's step, which
    MPL v1 takes by double back-propagation. With hard labels it is the expectation of `per_example` over the sample's
    own label, given the step that the labels of the batch have led to.
    """

    requires = frozenset({"old_weights"})
    soft = True

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            derivative: how the directional derivative of the student is taken: by `forward`-mode differentiation, or by
                central `differences` where the network or the device has none.
        """

        name: Literal["exact"] = "exact"
        derivative: Derivative = "forward"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def estimate(self, step: StudentStep) -> Feedback:
        direction = step.pullback(step.labeled_gradient())
        return Feedback(-step.sensitivity(direction, derivative=self.config.derivative), "sum")
