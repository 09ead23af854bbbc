"""The two networks of teacher/student learning, as a step sees them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mplframe.contracts.batch import Batch, Metrics
from mplframe.contracts.feedback import Feedback, Requirement, StudentStep


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
