"""From the teacher's logits to pseudo labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mplframe.contracts.batch import QUOTIENT, Metrics

View = Literal["weak", "strong"]
TeacherView = Literal["weak", "strong", "assigned"]


def sample(logits: Tensor, noise: Tensor) -> Tensor:
    """[N] int64 classes drawn from `softmax(logits)`, by the Gumbel-max trick.

    Args:
        logits: [N, C].
        noise: [N, C] standard Gumbel.
    """
    return (logits.float().log_softmax(-1) + noise).argmax(-1)


@dataclass(frozen=True)
class Labeling:
    """How pseudo labels are made.

    Attributes:
        kind: `sampled` from the teacher's distribution (MPL v4, algorithm 1), `argmax` of it, or `soft`: the
            distribution itself (MPL v1). An estimator of one h for a label is unbiased where labels are sampled; to an
            argmax, which has no derivative, it is a heuristic; soft labels need `exact`.
        temperature: the logits are divided by it.
        teacher_view: which view of the unlabeled samples the teacher labels; `assigned` for one that looks at an
            earlier teacher's distribution instead (MPL v4, appendix E).
        student_view: which view the student learns the label on.
    """

    kind: Literal["sampled", "argmax", "soft"] = "sampled"
    temperature: float = 1.0
    teacher_view: TeacherView = "strong"
    student_view: View = "strong"

    def labels(self, logits: Tensor, noise: Tensor) -> Tensor:
        """[N] int64, or [N, C] where they are soft, from [N, C] logits that are already divided by the temperature."""
        if self.kind == "soft":
            return logits.softmax(-1) if logits.dtype == torch.float64 else logits.float().softmax(-1)
        return sample(logits, noise) if self.kind == "sampled" else logits.argmax(-1)


def agreement(labels: Tensor, truth: Tensor | None) -> Metrics:
    """The quotient of the labels that equal the truth by those whose truth is known; nothing without any truth.

    Of soft labels the most probable class counts.
    """
    if truth is None:
        return {}
    if labels.is_floating_point():
        labels = labels.argmax(-1)
    known = truth >= 0
    return {
        "label_agreement": ((labels == truth) & known).float().mean(),
        f"label_agreement{QUOTIENT}": known.float().mean(),
    }


def entropy(probabilities: Tensor) -> Tensor:
    """[] mean entropy of [N, C] distributions, in nats."""
    mean: Tensor = torch.special.entr(probabilities).sum(-1).mean()
    return mean
