"""What turns the student's success on labeled data into a lesson for the teacher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Metrics, Tensors


@dataclass(frozen=True)
class Feedback:
    """How much the pseudo labels of this step helped the student.

    Attributes:
        h: [] one coefficient for the batch, or [N] one for each sample. Positive makes the label more likely.
        reduction: how the teacher's [N] cross entropies are reduced before they are weighted: with `sum`, a teacher
            loss `sum_i h_i CE_i` has the gradient of the student's labeled loss as its expectation; `mean` is the
            papers' 1/N of it (MPL v4, eq. 12, where CE is the batch average).
    """

    h: Tensor
    reduction: Literal["sum", "mean"]


class StudentStep(ABC):
    """What an estimator may ask about the step that the student has just made from theta to theta'."""

    metrics: Metrics
    """What was seen on the way to the labeled gradient: 0-d tensors by name, empty before it is asked for."""

    @property
    @abstractmethod
    def samples(self) -> int:
        """N, the number of pseudo-labeled samples in the step (of all ranks and micro-batches)."""

    @property
    @abstractmethod
    def label_part(self) -> Tensors:
        """`f(g) - f(0)`: the part of the displacement that depends on the pseudo labels. One tensor a parameter.

        Raises:
            AssertionError: the estimator didn't list `displacement` among its requirements.
        """

    @abstractmethod
    def labeled_gradient(self) -> Tensors:
        """`v`: the gradient of the labeled loss at theta'. One tensor a parameter. Computed once."""

    @abstractmethod
    def inner(self, a: Tensors, b: Tensors) -> Tensor:
        """[] `<a, b>` over all parameters, and over all shards where parameters are sharded."""


class FeedbackEstimator(ABC):
    """Estimates the feedback of one step.

    Attributes:
        requires: what the student has to keep for it; an estimator that needs nothing costs nothing.
    """

    Config: type[ComponentConfig]
    requires: frozenset[Literal["displacement"]] = frozenset({"displacement"})

    @abstractmethod
    def estimate(self, step: StudentStep) -> Feedback | None:
        """The feedback of a step, or None where the teacher gets none. No host sync: results stay on the device."""

    def state_dict(self) -> dict[str, Any]:
        """What has to be saved so that a resumed run continues exactly."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        return
