"""From the teacher's logits to pseudo labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

View = Literal["weak", "strong"]


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
        kind: `sampled` from the teacher's distribution (MPL v4, algorithm 1), or `argmax` of it.
        temperature: the logits are divided by it.
        teacher_view: which view of the unlabeled samples the teacher labels.
        student_view: which view the student learns the label on.
    """

    kind: Literal["sampled", "argmax"] = "sampled"
    temperature: float = 1.0
    teacher_view: View = "strong"
    student_view: View = "strong"

    def labels(self, logits: Tensor, noise: Tensor) -> Tensor:
        """[N] int64 from [N, C] logits that are already divided by the temperature."""
        return sample(logits, noise) if self.kind == "sampled" else logits.argmax(-1)


def agreement(labels: Tensor, truth: Tensor | None) -> Tensor | None:
    """[] share of labels that equal the truth where it is known; NaN where it never is, None without any truth."""
    if truth is None:
        return None
    known = truth >= 0
    return ((labels == truth) & known).sum() / known.sum().float()


def entropy(probabilities: Tensor) -> Tensor:
    """[] mean entropy of [N, C] distributions, in nats."""
    mean: Tensor = torch.special.entr(probabilities).sum(-1).mean()
    return mean
