"""A step that a student has made, as feedback estimators see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor

from mplframe.contracts.batch import Batch, Metrics, Tensors
from mplframe.contracts.feedback import Derivative, StudentStep
from mplframe.contracts.learner import PseudoLabels
from mplframe.feedback.cosine import cosine
from mplframe.learners.derivative import directional
from mplframe.learners.learner import Learner

UNASKED = "the estimator uses {} without listing it as {!r} in `requires`"


class Measurable(Protocol):
    """What a student lets be measured; see `mplframe.learners.student.NetworkStudent`."""

    learner: Learner
    label_smoothing: float

    def labeled_gradient(self, batches: Sequence[Batch], step: int) -> tuple[Tensors, Metrics]: ...

    def labeled_loss(self, batches: Sequence[Batch], step: int) -> Metrics: ...

    def log_probabilities(self, batch: Batch, step: int, micro: int, weights: Tensors) -> Tensor: ...


@dataclass
class Before:
    """What was kept from before the step; None for what the estimator doesn't ask for.

    Attributes:
        gradient: g, before clipping.
        label_part: `f(g) - f(0)`.
        weights: theta.
        pullback: `J_f(g)^T`.
        loss: the labeled loss at theta.
    """

    gradient: Tensors | None = None
    label_part: Tensors | None = None
    weights: Tensors | None = None
    pullback: Callable[[Tensors], Tensors] | None = None
    loss: Tensor | None = None


@final
class Move(StudentStep):
    """A step of a student; what an estimator asks for is computed when it is first asked for."""

    def __init__(
        self,
        student: Measurable,
        batches: Sequence[Batch],
        labels: Sequence[PseudoLabels],
        step: int,
        before: Before,
    ) -> None:
        self._student = student
        self._batches = batches
        self._labels = labels
        self._step = step
        self._before = before
        self._labeled_gradient: Tensors | None = None
        self.metrics: Metrics = {}

    @property
    def samples(self) -> int:
        return sum(len(q.labels) for q in self._labels) * self._student.learner.backend.world

    @property
    def labels(self) -> Tensor:
        return torch.cat([q.labels for q in self._labels])

    @property
    def label_part(self) -> Tensors:
        assert self._before.label_part is not None, UNASKED.format("the displacement", "displacement")
        return self._before.label_part

    def labeled_gradient(self) -> Tensors:
        if self._labeled_gradient is None:
            self._labeled_gradient, self.metrics = self._student.labeled_gradient(self._batches, self._step)
            if self._before.gradient is not None:
                # `cosine` is of minus its second vector: f(g) - f(0) points against g.
                self.metrics["gradient_cosine"] = -cosine(self._labeled_gradient, self._before.gradient, self.inner)
                self._before.gradient = None
        return self._labeled_gradient

    def pullback(self, vector: Tensors) -> Tensors:
        assert self._before.pullback is not None, UNASKED.format("the pull-back", "old_weights")
        return self._before.pullback(vector)

    def sensitivity(self, direction: Tensors, *, derivative: Derivative = "forward") -> Tensor:
        assert self._before.weights is not None, UNASKED.format("the sensitivity", "old_weights")
        learner, slopes = self._student.learner, []
        weights, direction = learner.backend.gathered(self._before.weights), learner.backend.gathered(direction)
        with learner.backend.alone(learner.module):
            for i, batch in enumerate(self._batches):

                def logp(given: Tensors, micro: int = i, batch: Batch = batch) -> Tensor:
                    return self._student.log_probabilities(batch, self._step, micro, given)

                slopes.append(directional(logp, weights, direction, derivative=derivative, inner=self.inner))
        # g is the mean over samples of minus log p, weighted by q and, to a share, by the uniform distribution.
        return torch.cat(slopes) * (-(1.0 - self._student.label_smoothing) / self.samples)

    @property
    def labeled_loss_before(self) -> Tensor:
        assert self._before.loss is not None, UNASKED.format("the loss before the step", "old_loss")
        return self._of_all(self._before.loss)

    def labeled_loss(self) -> Tensor:
        if "labeled_loss" not in self.metrics:
            self.metrics = self._student.labeled_loss(self._batches, self._step)
        return self._of_all(self.metrics["labeled_loss"])

    def inner(self, a: Tensors, b: Tensors) -> Tensor:
        return self._student.learner.backend.inner(a, b)

    def _of_all(self, loss: Tensor) -> Tensor:
        """The mean over processes, so that all of them teach the same."""
        return self._student.learner.backend.reduce((loss,))[0]
