"""A teacher that has learned: it labels, and nothing that the student does changes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import UNKNOWN, Batch, Metrics
from mplframe.contracts.feedback import Feedback
from mplframe.contracts.learner import PseudoLabels, Teacher
from mplframe.learners.labeling import Labeling, agreement, entropy
from mplframe.learners.metrics import mean_metrics
from mplframe.learners.randomness import gumbel


def confident(logits: Tensor, threshold: float) -> Tensor:
    """[N] bool: whether the most likely class (at temperature 1) of [N, C] logits has at least this probability."""
    return logits.softmax(-1).amax(-1) >= threshold


def targets(labels: Tensor, counts: Tensor, *, classes: int, smoothing: float = 0.0) -> Tensor:
    """What a student's cross entropy is taken against: rows of zeros, which cost nothing, where a sample doesn't count.

    Args:
        labels: [N] int64, or [N, C] probabilities.
        counts: [N] bool.
        classes: C.
        smoothing: share of the uniform distribution in the rows that count.

    Returns:
        [N, C] float32 or wider.
    """
    rows = labels if labels.is_floating_point() else F.one_hot(labels, classes).float()
    return ((1.0 - smoothing) * rows + smoothing / classes) * counts.unsqueeze(-1)


@final
class FrozenTeacher(Teacher):
    """A trained network that labels in evaluation mode (MPL v4, eq. 1).

    Its labels are distributions, in which label smoothing is done already: train the student on them without any.

    Args:
        module: on its device, with the weights that it is to label with.
        backend: whose precision it labels in.
        labeling: how it makes pseudo labels.
        threshold: samples of less confidence count 0 in the student's loss (MPL v4, table 6).
        label_smoothing: of the labels.
        seed: of labels that are drawn.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        backend: Backend,
        labeling: Labeling | None = None,
        threshold: float = 0.0,
        label_smoothing: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.module = module.eval().requires_grad_(False)
        self.backend = backend
        self.labeling = labeling or Labeling()
        self.threshold = threshold
        self.label_smoothing = label_smoothing
        self.seed = seed

    def evaluated(self, weights: str) -> nn.Module:
        """The network; it has one set of weights."""
        return self.module

    def label(self, batches: Sequence[Batch], step: int) -> list[PseudoLabels]:
        self.module.eval()
        return [self._label(batch, step, micro) for micro, batch in enumerate(batches)]

    def learn(
        self, batches: Sequence[Batch], labels: Sequence[PseudoLabels], feedback: Feedback | None, step: int
    ) -> Metrics:
        """What is known of the labels; nothing is learned."""
        return mean_metrics([_described(batch, pseudo) for batch, pseudo in zip(batches, labels, strict=True)])

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the weights are what an earlier stage left, and stay so."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        return

    def _label(self, batch: Batch, step: int, micro: int) -> PseudoLabels:
        assert batch.unlabeled is not None
        with torch.no_grad(), self.backend.autocast():
            logits: Tensor = self.module(batch.unlabeled.view(self.labeling.teacher_view))
        logits = logits if logits.dtype == torch.float64 else logits.float()
        own = logits / self.labeling.temperature
        share = (self.backend.rank, self.backend.world)
        noise = gumbel(tuple(own.shape), self.seed, "labels", step, micro, 0, share=share)
        labels = self.labeling.labels(own, noise.to(own.device, non_blocking=True))
        counts = confident(logits, self.threshold)
        given = targets(labels, counts, classes=logits.shape[-1], smoothing=self.label_smoothing).to(logits.dtype)
        return PseudoLabels(given, own.softmax(-1))


def _described(batch: Batch, pseudo: PseudoLabels) -> Metrics:
    counts = pseudo.labels.sum(-1) > 0
    found = {"label_entropy": entropy(pseudo.probabilities), "label_share": counts.float().mean()}
    truth = None if batch.unlabeled is None else batch.unlabeled.labels
    if truth is not None:
        agrees = agreement(pseudo.labels, torch.where(counts, truth, UNKNOWN))
        assert agrees is not None
        found["label_agreement"] = agrees
    return found
