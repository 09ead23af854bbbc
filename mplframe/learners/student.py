"""The student: it learns from pseudo labels alone, and is measured on labeled samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mplframe.contracts.batch import Batch, Metrics, Tensors
from mplframe.contracts.feedback import Requirement, StudentStep
from mplframe.contracts.learner import PseudoLabels, Student
from mplframe.learners.labeling import Labeling
from mplframe.learners.learner import Learner
from mplframe.learners.metrics import accuracy, mean_metrics
from mplframe.learners.move import Before, Move
from mplframe.learners.randomness import derive
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
        requires: frozenset[Requirement],
    ) -> tuple[StudentStep, Metrics]:
        self.module.train()
        metrics = [
            self._backward(b, q, step, i, len(batches)) for i, (b, q) in enumerate(zip(batches, labels, strict=True))
        ]
        rate = self.learner.set_rate(step)
        gradient = self.learner.take_gradient()
        clipped = self.learner.clipped(gradient)
        before = self._before(batches, gradient, clipped, step, requires)
        # Some optimizers write into the gradient that they step with: what was kept needs it as it was.
        self.learner.apply(tuple(g.clone() for g in clipped) if requires else clipped)
        return Move(self, batches, labels, step, before), {**mean_metrics(metrics), "lr": torch.tensor(rate)}

    def labeled_gradient(self, batches: Sequence[Batch], step: int) -> tuple[Tensors, Metrics]:
        """`v`, the gradient of the labeled loss at the present weights, in training mode.

        Nothing else is touched: neither running statistics, nor random streams, nor `.grad`.
        """
        metrics: list[Metrics] = []
        for i, batch in enumerate(batches):
            loss, found = self._labeled_loss(batch, step, i)
            (loss / len(batches)).backward()  # type: ignore[no-untyped-call]
            metrics.append(found)
        return self.learner.take_gradient(), mean_metrics(metrics)

    def labeled_loss(self, batches: Sequence[Batch], step: int) -> Metrics:
        """The labeled loss at the present weights as `labeled_gradient` sees it, without the gradient."""
        with torch.no_grad():
            return mean_metrics([self._labeled_loss(batch, step, i)[1] for i, batch in enumerate(batches)])

    def log_probabilities(self, batch: Batch, step: int, micro: int, weights: Tensors) -> Tensor:
        """[N, C] what the student says of unlabeled samples with these weights; like `labeled_loss` it leaves no trace.

        Dropout and the normalisation by the batch are those of the forward that the student learned from.
        """
        with frozen_statistics(self.module):
            logits = self._logits(self._learned_view(batch), "student", step, micro, weights)
        return (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)

    def state_dict(self) -> dict[str, Any]:
        return self.learner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.learner.load_state_dict(state)

    def _before(
        self,
        batches: Sequence[Batch],
        gradient: Tensors,
        clipped: Tensors,
        step: int,
        requires: frozenset[Requirement],
    ) -> Before:
        learner = self.learner
        before = Before(gradient=gradient) if requires else Before()
        if "displacement" in requires:
            before.label_part = learner.lookahead.label_part(learner.optimizer, clipped)
        if "old_weights" in requires:
            before.weights = tuple(p.detach().clone() for p in learner.parameters)
            before.pullback = learner.pullback(gradient, clipped)
        if "old_loss" in requires:
            before.loss = self.labeled_loss(batches, step)["labeled_loss"]
        return before

    def _backward(self, batch: Batch, labels: PseudoLabels, step: int, micro: int, parts: int) -> Metrics:
        logits = self._logits(self._learned_view(batch), "student", step, micro)
        loss = cross_entropy(logits, labels.labels, smoothing=self.label_smoothing).mean()
        (loss / parts).backward()  # type: ignore[no-untyped-call]
        return {"loss": loss.detach()}

    def _labeled_loss(self, batch: Batch, step: int, micro: int) -> tuple[Tensor, Metrics]:
        labels = batch.labeled.labels
        assert labels is not None
        with frozen_statistics(self.module):
            logits = self._logits(batch.labeled.weak, "labeled", step, micro)
        loss = cross_entropy(logits, labels).mean()
        return loss, {"labeled_loss": loss.detach(), "labeled_accuracy": accuracy(logits, labels)}

    def _learned_view(self, batch: Batch) -> Tensor:
        assert batch.unlabeled is not None
        return batch.unlabeled.view(self.labeling.student_view)

    def _logits(self, images: Tensor, purpose: str, step: int, micro: int, weights: Tensors | None = None) -> Tensor:
        backend = self.learner.backend
        with backend.seeded(derive(self.seed, purpose, step, micro, backend.rank)), backend.autocast():
            if weights is None:
                logits: Tensor = self.module(images)
            else:
                logits = functional_call(self.module, dict(zip(self.learner.names, weights, strict=True)), (images,))
        return logits
