"""The student: it learns from pseudo labels alone, and is measured on labeled samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from mplframe.contracts.batch import Batch, Metrics, Tensors
from mplframe.contracts.feedback import StudentStep
from mplframe.contracts.learner import PseudoLabels, Student
from mplframe.learners.labeling import Labeling
from mplframe.learners.learner import Learner
from mplframe.learners.metrics import accuracy, mean_metrics
from mplframe.learners.randomness import seeded
from mplframe.learners.statistics import frozen_statistics
from mplframe.losses.cross_entropy import cross_entropy


@final
class NetworkStudent(Student):
    """A student with a network.

    Args:
        learner: its network and optimizer.
        labeling: which view it learns on.
        label_smoothing: of the pseudo labels (MPL v4, table 8: 0.1).
        seed: of dropout.
    """

    def __init__(
        self, learner: Learner, *, labeling: Labeling | None = None, label_smoothing: float = 0.0, seed: int = 0
    ) -> None:
        self.learner = learner
        self.labeling = labeling or Labeling()
        self.label_smoothing = label_smoothing
        self.seed = seed

    @property
    def module(self) -> nn.Module:
        return self.learner.module

    def evaluated(self, weights: str) -> nn.Module:
        return self.learner.evaluated(weights)

    def learn(
        self,
        batches: Sequence[Batch],
        labels: Sequence[PseudoLabels],
        step: int,
        *,
        requires: frozenset[Literal["displacement"]],
    ) -> tuple[StudentStep, Metrics]:
        self.module.train()
        metrics = [
            self._backward(b, q, step, i, len(batches)) for i, (b, q) in enumerate(zip(batches, labels, strict=True))
        ]
        rate = self.learner.set_rate(step)
        gradient = self.learner.clipped(self.learner.take_gradient())
        label_part = None
        if "displacement" in requires:
            label_part = self.learner.lookahead.label_part(self.learner.optimizer, gradient)
        self.learner.apply(gradient)
        count = sum(len(q.labels) for q in labels) * self.learner.backend.world
        return _Step(self, batches, step, label_part, count), {**mean_metrics(metrics), "lr": torch.tensor(rate)}

    def labeled_gradient(self, batches: Sequence[Batch], step: int) -> tuple[Tensors, Metrics]:
        """`v`, the gradient of the labeled loss at the present weights, in training mode.

        Nothing else is touched: neither running statistics, nor random streams, nor `.grad`.
        """
        metrics: list[Metrics] = []
        for i, batch in enumerate(batches):
            with frozen_statistics(self.module):
                logits = self._logits(batch.labeled.weak, "labeled", step, i)
            targets = _labels_of(batch)
            loss = cross_entropy(logits, targets).mean()
            (loss / len(batches)).backward()  # type: ignore[no-untyped-call]
            metrics.append({"labeled_loss": loss.detach(), "labeled_accuracy": accuracy(logits, targets)})
        return self.learner.take_gradient(), mean_metrics(metrics)

    def state_dict(self) -> dict[str, Any]:
        return self.learner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.learner.load_state_dict(state)

    def _backward(self, batch: Batch, labels: PseudoLabels, step: int, micro: int, parts: int) -> Metrics:
        assert batch.unlabeled is not None
        logits = self._logits(batch.unlabeled.view(self.labeling.student_view), "student", step, micro)
        loss = cross_entropy(logits, labels.labels, smoothing=self.label_smoothing).mean()
        (loss / parts).backward()  # type: ignore[no-untyped-call]
        return {"loss": loss.detach()}

    def _logits(self, images: Tensor, purpose: str, step: int, micro: int) -> Tensor:
        backend = self.learner.backend
        with seeded(backend.device, self.seed, purpose, step, micro, backend.rank), backend.autocast():
            logits: Tensor = self.module(images)
        return logits


class _Step(StudentStep):
    """A step of a `NetworkStudent`; the labeled gradient is computed when it is first asked for."""

    def __init__(
        self, student: NetworkStudent, batches: Sequence[Batch], step: int, label_part: Tensors | None, samples: int
    ) -> None:
        self._student = student
        self._batches = batches
        self._step = step
        self._label_part = label_part
        self._samples = samples
        self._gradient: Tensors | None = None
        self.metrics: Metrics = {}

    @property
    def samples(self) -> int:
        return self._samples

    @property
    def label_part(self) -> Tensors:
        assert self._label_part is not None, "the estimator uses the displacement without listing it in `requires`"
        return self._label_part

    def labeled_gradient(self) -> Tensors:
        if self._gradient is None:
            self._gradient, self.metrics = self._student.labeled_gradient(self._batches, self._step)
        return self._gradient

    def inner(self, a: Tensors, b: Tensors) -> Tensor:
        return self._student.learner.backend.inner(a, b)


def _labels_of(batch: Batch) -> Tensor:
    assert batch.labeled.labels is not None
    return batch.labeled.labels
