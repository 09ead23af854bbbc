"""The teacher: a network that labels, listens and also learns by itself; or a frozen one that only labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import UNKNOWN, Batch, Metrics
from mplframe.contracts.feedback import Feedback, PseudoLabels, Teacher
from mplframe.contracts.loss import AuxLoss, View
from mplframe.errors import UserError
from mplframe.losses.supervised import confident, cross_entropy
from mplframe.randomness import gumbel
from mplframe.training.labeling import Labeling, agreement, entropy
from mplframe.training.learner import Learner
from mplframe.training.network import frozen_statistics
from mplframe.training.objective import Objective, Seen, Totals, accuracy, mean_metrics, see

Logits = dict[View, Tensor]


def feedback_loss(logits: Tensor, labels: Tensor, h: Tensor, *, share: float) -> Tensor:
    """`share * sum_i h_i CE(y_i, p_i)`: a positive h makes its label more likely (MPL v4, eq. 12).

    With an h for every entry of the distributions it is `-share * sum_ic h_ic p_ic`, and the labels don't matter.

    Args:
        logits: [N, C] of p, with a graph.
        labels: [N] int64 or [N, C], the very labels that the student was trained on.
        h: [], [N] or [N, C].
        share: 1 for a sum over samples, 1/N for their mean.

    Returns:
        [].

    Raises:
        UserError: soft labels with an h for each label: the term's gradient would be zero.
    """
    if h.ndim == 2:
        return -share * (h.detach() * logits.softmax(-1)).sum()
    if labels.is_floating_point():
        raise UserError("soft pseudo labels learn nothing from one h a label; use the feedback `exact`, or `off`")
    return share * (h.detach() * cross_entropy(logits, labels)).sum()


def squared_slope(loss: Tensor, logits: Logits) -> Tensor:
    """[] float32, the squared norm of the loss's gradient with respect to the logits of all views.

    It stops at the logits, so that it costs no pass through the network.
    """
    if not loss.requires_grad:
        return loss.new_zeros((), dtype=torch.float32)
    trained = [each for each in logits.values() if each.requires_grad]
    slopes = torch.autograd.grad(loss, trained, retain_graph=True, allow_unused=True)
    return torch.stack([slope.float().square().sum() for slope in slopes if slope is not None]).sum()


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

    def evaluated(self, weights: str) -> nn.Module | None:
        if self.labeling.teacher_view == "assigned":
            return None
        return self.learner.evaluated(weights)

    def label(self, batches: Sequence[Batch], step: int) -> list[PseudoLabels]:
        self.learner.train()
        # One micro-batch keeps its graph until the feedback is there. Several would have to keep all of theirs, so
        # their forwards are repeated instead: with the same random numbers, and without counting statistics twice.
        keep = len(batches) == 1
        labels = []
        for i, batch in enumerate(batches):
            with torch.set_grad_enabled(keep):
                seen = self._see(batch, step, i)
            kept = seen if keep else self.objective.counted(seen.inputs(batch, step, self.learner.steps))
            labels.append(self._pseudo_labels(seen, step, i, kept))
        return labels

    def learn(
        self, batches: Sequence[Batch], labels: Sequence[PseudoLabels], feedback: Feedback | None, step: int
    ) -> Metrics:
        self.learner.train()
        portions = _portions(feedback, [len(q.labels) for q in labels])
        totals = self.objective.totals(
            [self._counted(batch, q, step) for batch, q in zip(batches, labels, strict=True)], self.learner.backend
        )
        metrics = mean_metrics(
            [
                self._backward(batch, q, heard, step, i, totals)
                for i, (batch, q, heard) in enumerate(zip(batches, labels, portions, strict=True))
            ]
        )
        if feedback is not None:
            # The squares of all processes, since a norm of all isn't the mean of norms.
            squares = self.learner.backend.reduce((metrics.pop("_feedback"), metrics.pop("_rest")))
            own, rest = (square.sqrt() for square in squares)
            metrics["feedback_share"] = own / (own + rest).clamp_min(torch.finfo(own.dtype).tiny)
        rate = self.learner.set_rate(step)
        gradient = self.learner.take_gradient()
        if feedback is not None or self.objective.losses:
            self.learner.apply(self.learner.clipped(gradient))
        return {**metrics, "lr": torch.tensor(rate)}

    def state_dict(self) -> dict[str, Any]:
        return self.learner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.learner.load_state_dict(state)

    def _backward(
        self, batch: Batch, pseudo: PseudoLabels, feedback: Feedback | None, step: int, micro: int, totals: Totals
    ) -> Metrics:
        """Leave the gradient of one micro-batch in `.grad`."""
        parts = totals.parts
        if isinstance(pseudo.forward, Seen):
            seen = pseudo.forward
        else:
            with frozen_statistics(self.module):
                seen = self._see(batch, step, micro)
        loss, metrics = self._aux_loss(batch, seen, pseudo, step, totals)
        loss = loss / parts
        if feedback is not None:
            term = self._feedback_term(seen.logits, pseudo, feedback, parts=parts)
            metrics |= {"_feedback": squared_slope(term, seen.logits), "_rest": squared_slope(loss, seen.logits)}
            loss = loss + term
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        return metrics

    def _feedback_term(self, logits: Logits, pseudo: PseudoLabels, feedback: Feedback, *, parts: int) -> Tensor:
        # Gradients are averaged over processes, so a sum over all samples is `world` times the mean of sums.
        of_sum = float(self.learner.backend.world)
        share = 1.0 / (len(pseudo.labels) * parts) if feedback.reduction == "mean" else of_sum
        own = logits[self.labeling.teacher_view] / self.labeling.temperature
        return self.feedback_weight * feedback_loss(own, pseudo.labels, feedback.h, share=share)

    def _see(self, batch: Batch, step: int, micro: int) -> Seen:
        return see(self.learner, batch, self._views, self.seed, "teacher", step, micro, alpha=self.objective.alpha)

    def _pseudo_labels(self, seen: Seen, step: int, micro: int, kept: Seen | Metrics) -> PseudoLabels:
        backend = self.learner.backend
        own = seen.logits[self.labeling.teacher_view].detach() / self.labeling.temperature
        noise = gumbel(tuple(own.shape), self.seed, "labels", step, micro, 0, share=(backend.rank, backend.world))
        labels = self.labeling.labels(own, noise.to(own.device, non_blocking=True))
        return PseudoLabels(labels, own.float().softmax(-1), kept)

    def _counted(self, batch: Batch, pseudo: PseudoLabels, step: int) -> Metrics:
        """What `label` counted of a micro-batch, or would have."""
        if isinstance(pseudo.forward, Seen):
            return self.objective.counted(pseudo.forward.inputs(batch, step, self.learner.steps))
        found: Metrics = pseudo.forward
        return found

    def _aux_loss(
        self, batch: Batch, seen: Seen, pseudo: PseudoLabels, step: int, totals: Totals
    ) -> tuple[Tensor, Metrics]:
        assert batch.labeled.labels is not None
        assert batch.unlabeled is not None
        loss, metrics = self.objective(seen.inputs(batch, step, self.learner.steps), totals)
        metrics["loss"] = loss.detach()
        if "labeled" in seen.logits:
            metrics["accuracy"] = accuracy(seen.logits["labeled"], batch.labeled.labels)
        metrics["label_entropy"] = entropy(pseudo.probabilities)
        return loss, metrics | agreement(pseudo.labels, batch.unlabeled.labels)


def _portions(feedback: Feedback | None, sizes: Sequence[int]) -> Sequence[Feedback | None]:
    """What each micro-batch hears of the feedback."""
    if feedback is None or feedback.h.ndim == 0:
        return [feedback] * len(sizes)
    return [replace(feedback, h=h) for h in torch.split(feedback.h, list(sizes))]


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
    return found | agreement(pseudo.labels, None if truth is None else torch.where(counts, truth, UNKNOWN))
