"""The teacher: a network that labels, listens and also learns by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from mplframe.contracts.batch import Batch, Metrics
from mplframe.contracts.feedback import Feedback
from mplframe.contracts.learner import PseudoLabels, Teacher
from mplframe.contracts.loss import AuxLoss, LossInputs, View
from mplframe.learners.labeling import Labeling, agreement, entropy
from mplframe.learners.learner import Learner
from mplframe.learners.metrics import accuracy, mean_metrics
from mplframe.learners.objective import Objective, forward_views
from mplframe.learners.randomness import gumbel, seeded
from mplframe.learners.statistics import frozen_statistics
from mplframe.losses.cross_entropy import cross_entropy

Logits = dict[View, Tensor]


def feedback_loss(logits: Tensor, labels: Tensor, h: Tensor, *, share: float) -> Tensor:
    """`share * sum_i h_i CE(y_i, p_i)`: a positive h makes its label more likely (MPL v4, eq. 12).

    Args:
        logits: [N, C] of p, with a graph.
        labels: [N] int64, the very labels that the student was trained on.
        h: [] or [N].
        share: 1 for a sum over samples, 1/N for their mean.

    Returns:
        [].
    """
    return share * (h.detach() * cross_entropy(logits, labels)).sum()


@final
class NetworkTeacher(Teacher):
    """A teacher with a network.

    Args:
        learner: its network and optimizer.
        losses: auxiliary losses by name; a sequence is named after its classes' configs.
        labeling: how it makes pseudo labels.
        feedback_weight: what the feedback term is multiplied by.
        seed: of dropout and of the labels drawn.
    """

    def __init__(
        self,
        learner: Learner,
        losses: Sequence[AuxLoss] | Objective = (),
        *,
        labeling: Labeling | None = None,
        feedback_weight: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.learner = learner
        self.objective = losses if isinstance(losses, Objective) else Objective.of(losses)
        self.labeling = labeling or Labeling()
        self.feedback_weight = feedback_weight
        self.seed = seed
        self._views = self.objective.views | {self.labeling.teacher_view}

    @property
    def module(self) -> nn.Module:
        return self.learner.module

    def evaluated(self, weights: str) -> nn.Module:
        return self.learner.evaluated(weights)

    def label(self, batches: Sequence[Batch], step: int) -> list[PseudoLabels]:
        self.module.train()
        # One micro-batch keeps its graph until the feedback is there. Several would have to keep all of theirs, so
        # their forwards are repeated instead: with the same random numbers, and without counting statistics twice.
        keep = len(batches) == 1
        labels = []
        for i, batch in enumerate(batches):
            with torch.set_grad_enabled(keep):
                logits = self._forward(batch, step, i)
            labels.append(self._pseudo_labels(logits, step, i, keep=keep))
        return labels

    def learn(
        self, batches: Sequence[Batch], labels: Sequence[PseudoLabels], feedback: Feedback | None, step: int
    ) -> Metrics:
        self.module.train()
        metrics = []
        start = 0
        samples = sum(len(q.labels) for q in labels)
        for i, (batch, pseudo) in enumerate(zip(batches, labels, strict=True)):
            logits = pseudo.forward
            if logits is None:
                with frozen_statistics(self.module):
                    logits = self._forward(batch, step, i)
            loss, found = self._aux_loss(batch, logits, pseudo, step)
            loss = loss / len(batches)
            if feedback is not None:
                mine = feedback.h if feedback.h.ndim == 0 else feedback.h[start : start + len(pseudo.labels)]
                # Gradients are averaged over processes, so a sum over all samples is `world` times the mean of sums.
                share = 1.0 / samples if feedback.reduction == "mean" else float(self.learner.backend.world)
                own = logits[self.labeling.teacher_view] / self.labeling.temperature
                loss = loss + self.feedback_weight * feedback_loss(own, pseudo.labels, mine, share=share)
            loss.backward()  # type: ignore[no-untyped-call]
            start += len(pseudo.labels)
            metrics.append(found)
        rate = self.learner.set_rate(step)
        self.learner.apply(self.learner.clipped(self.learner.take_gradient()))
        return {**mean_metrics(metrics), "lr": torch.tensor(rate)}

    def state_dict(self) -> dict[str, Any]:
        return self.learner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.learner.load_state_dict(state)

    def _forward(self, batch: Batch, step: int, micro: int) -> Logits:
        backend = self.learner.backend
        with seeded(backend.device, self.seed, "teacher", step, micro, backend.rank), backend.autocast():
            return forward_views(self.module, batch, self._views)

    def _pseudo_labels(self, logits: Logits, step: int, micro: int, *, keep: bool) -> PseudoLabels:
        backend = self.learner.backend
        own = logits[self.labeling.teacher_view].detach() / self.labeling.temperature
        noise = gumbel(tuple(own.shape), self.seed, "labels", step, micro, backend.rank)
        labels = self.labeling.labels(own, noise.to(own.device, non_blocking=True))
        return PseudoLabels(labels, own.float().softmax(-1), logits if keep else None)

    def _aux_loss(self, batch: Batch, logits: Logits, pseudo: PseudoLabels, step: int) -> tuple[Tensor, Metrics]:
        assert batch.labeled.labels is not None
        assert batch.unlabeled is not None
        inputs = LossInputs(logits, batch.labeled.labels, step, self.learner.steps)
        loss, metrics = self.objective(inputs)
        metrics["loss"] = loss.detach()
        if "labeled" in logits:
            metrics["accuracy"] = accuracy(logits["labeled"], batch.labeled.labels)
        metrics["label_entropy"] = entropy(pseudo.probabilities)
        agrees = agreement(pseudo.labels, batch.unlabeled.labels)
        if agrees is not None:
            metrics["label_agreement"] = agrees
        return loss, metrics
