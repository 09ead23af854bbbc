"""Teacher and student as a feedback estimator sees them, and what an estimator is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Batch, Metrics, Tensors


@dataclass(frozen=True)
class Feedback:
    """How much the pseudo labels of this step helped the student.

    Attributes:
        h: [] one coefficient for the batch or [N] one for each sample: positive makes the label that was given more
            likely. Or [N, C] one for each entry q_ic of the pseudo-label distributions: the teacher climbs
            `sum_ic h_ic q_ic`, whatever labels were drawn. N are the samples of this process.
        reduction: how the terms of the samples are reduced: with `sum` the teacher's expected gradient is that of the
            student's labeled loss; `mean` is the papers' 1/N of it (MPL v4, eq. 12, where CE is the batch average).
    """

    h: Tensor
    reduction: Literal["sum", "mean"]


Requirement = Literal["displacement", "old_weights", "old_loss"]
"""What a student keeps of its step for the estimator: `displacement` for `label_part`; `old_weights` for `pullback` and
`sensitivity`; `old_loss` for `labeled_loss_before`. What isn't asked for costs nothing."""

Derivative = Literal["forward", "differences"]
"""How a directional derivative is taken: by forward-mode differentiation, or by central differences."""


class StudentStep(ABC):
    """What an estimator may ask about the step that the student has just made from theta to theta'.

    What the estimator hasn't listed among its requirements raises an AssertionError.
    """

    metrics: Metrics
    """What was seen on the way to the labeled gradient: 0-d tensors by name, empty before it is asked for."""

    @property
    @abstractmethod
    def samples(self) -> int:
        """The number of pseudo-labeled samples in the step (of all processes and micro-batches)."""

    @property
    @abstractmethod
    def labels(self) -> Tensor:
        """[N] int64 or [N, C] probabilities: what the student was trained on, in this process."""

    @property
    @abstractmethod
    def label_part(self) -> Tensors:
        """`f(g) - f(0)`: the part of the displacement that depends on the pseudo labels. One tensor a parameter."""

    @abstractmethod
    def labeled_gradient(self) -> Tensors:
        """`v`: the gradient of the labeled loss at theta'. One tensor a parameter. Computed once."""

    @abstractmethod
    def pullback(self, vector: Tensors) -> Tensors:
        """`J_f(g)^T vector`: from a gradient with respect to theta' to one with respect to g.

        Raises:
            UserError: the optimizer has no lookahead with a derivative.
        """

    @abstractmethod
    def sensitivity(self, direction: Tensors, *, derivative: Derivative = "forward") -> Tensor:
        """[N, C] `<direction, dg / dq_ic>`: how the gradient g answers to the pseudo-label distributions q.

        With `pullback(labeled_gradient())` as the direction it is the derivative of the labeled loss at theta' with
        respect to q_ic. One directional derivative of the student at theta gives all of it.

        Raises:
            UserError: the network has no forward-mode derivative.
        """

    @property
    @abstractmethod
    def labeled_loss_before(self) -> Tensor:
        """[] the labeled loss at theta."""

    @abstractmethod
    def labeled_loss(self) -> Tensor:
        """[] the labeled loss at theta', on the same samples, in the same mode and with the same dropout."""

    @abstractmethod
    def inner(self, a: Tensors, b: Tensors) -> Tensor:
        """[] `<a, b>` over all parameters, and over all shards where parameters are sharded."""

    @abstractmethod
    def mean(self, values: Tensor) -> Tensor:
        """[] the mean of the values of this process's samples over the samples of all processes, such as of h. What
        depends on other samples has to be taken with it, or processes would each go on with another number."""


class FeedbackEstimator(ABC):
    """Estimates the feedback of one step.

    Attributes:
        requires: what the student has to keep for it; an estimator that needs nothing costs nothing.
        soft: whether it says something where pseudo labels are distributions rather than classes.
    """

    Config: type[ComponentConfig]
    requires: frozenset[Requirement] = frozenset({"displacement"})
    soft: bool = False

    @abstractmethod
    def estimate(self, step: StudentStep) -> Feedback | None:
        """The feedback of a step, or None where the teacher gets none. No host sync: results stay on the device."""

    def state_dict(self) -> dict[str, Any]:
        """What has to be saved so that a resumed run continues exactly."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        return


@dataclass(frozen=True)
class PseudoLabels:
    """What the teacher says of a micro-batch of unlabeled samples.

    Attributes:
        labels: [N] int64 (hard) or [N, C] float probabilities (soft), detached.
        probabilities: [N, C] the distribution they come from, detached.
        forward: whatever the teacher wants back when it learns from the feedback to these labels.
    """

    labels: Tensor
    probabilities: Tensor
    forward: Any = None


class Teacher(ABC):
    """Labels unlabeled samples and learns from what the labels did to the student."""

    @abstractmethod
    def evaluated(self, weights: str) -> nn.Module | None:
        """The network to evaluate: with `ema` its averaged weights where an average is kept, with `raw` its own. None
        where it doesn't take images."""

    @abstractmethod
    def label(self, batches: Sequence[Batch], step: int) -> list[PseudoLabels]:
        """Pseudo labels for the unlabeled samples of each micro-batch."""

    @abstractmethod
    def learn(
        self, batches: Sequence[Batch], labels: Sequence[PseudoLabels], feedback: Feedback | None, step: int
    ) -> Metrics:
        """One step on feedback and auxiliary losses. The labels are those that the student was trained on."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""


class Student(ABC):
    """Learns from pseudo labels and is measured on labeled samples."""

    @abstractmethod
    def evaluated(self, weights: str) -> nn.Module:
        """The network to evaluate: with `ema` its averaged weights where an average is kept, with `raw` its own."""

    @abstractmethod
    def learn(
        self,
        batches: Sequence[Batch],
        labels: Sequence[PseudoLabels],
        step: int,
        *,
        requires: frozenset[Requirement],
    ) -> tuple[StudentStep, Metrics]:
        """One optimizer step on the pseudo labels, and what feedback estimators may ask about it."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
