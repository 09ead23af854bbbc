"""The cosine of MPL v4, C.3: the sign of the dot product, a range that can't explode."""

from collections.abc import Callable
from typing import Annotated, Literal, final

from pydantic import Field
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors
from mplframe.contracts.feedback import Feedback, FeedbackEstimator, StudentStep

Inner = Callable[[Tensors, Tensors], Tensor]


def cosine(labeled_gradient: Tensors, label_part: Tensors, inner: Inner, *, epsilon: float = 1e-30) -> Tensor:
    """`h = cos(v, -(f(g) - f(0)))`, in [-1, 1] (MPL v4, C.3).

    Args:
        labeled_gradient: v, the gradient of the labeled loss at theta', one tensor a parameter.
        label_part: `f(g) - f(0)`, the label-dependent part of the displacement theta' - theta.
        inner: `<a, b>` over all tensors.
        epsilon: least product of the norms; where either vector vanishes, h is 0.

    Returns:
        [] positive where the labels helped.
    """
    # Norm by norm: in float32 the product of the squares would leave its range.
    norms = inner(labeled_gradient, labeled_gradient).sqrt() * inner(label_part, label_part).sqrt()
    return -inner(labeled_gradient, label_part) / norms.clamp_min(epsilon)


@final
class Cosine(FeedbackEstimator):
    """`h = cos(v, -(f(g) - f(0)))`, one coefficient for the batch; the teacher's cross entropy is a batch mean."""

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            epsilon: least product of the two norms.
        """

        name: Literal["cosine"] = "cosine"
        epsilon: Annotated[float, Field(gt=0)] = 1e-30

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def estimate(self, step: StudentStep) -> Feedback:
        h = cosine(step.labeled_gradient(), step.label_part, step.inner, epsilon=self.config.epsilon)
        return Feedback(h, "mean")
