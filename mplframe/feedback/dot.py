"""The dot product of MPL v4, eq. 12, for any optimizer."""

from collections.abc import Callable
from typing import Literal, final

from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors
from mplframe.contracts.feedback import Feedback, FeedbackEstimator, StudentStep

Inner = Callable[[Tensors, Tensors], Tensor]


def dot(labeled_gradient: Tensors, label_part: Tensors, inner: Inner) -> Tensor:
    """How far the pseudo labels moved the student down its labeled loss, to first order.

    `h = -<v, f(g) - f(0)>`; for SGD with learning rate eta this is `eta <v, g>` (MPL v4, eq. 12).

    Args:
        labeled_gradient: v, the gradient of the labeled loss at theta', one tensor a parameter.
        label_part: `f(g) - f(0)`, the label-dependent part of the displacement theta' - theta.
        inner: `<a, b>` over all tensors.

    Returns:
        [] positive where the labels helped.
    """
    return -inner(labeled_gradient, label_part)


@final
class Dot(FeedbackEstimator):
    """`h = -<v, f(g) - f(0)>`, one coefficient for the batch.

    Its scale is that of the gradient of the labeled loss: summed over samples, the teacher's loss is unbiased.
    """

    class Config(ComponentConfig):
        """No settings."""

        name: Literal["dot"] = "dot"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def estimate(self, step: StudentStep) -> Feedback:
        return Feedback(dot(step.labeled_gradient(), step.label_part, step.inner), "sum")
