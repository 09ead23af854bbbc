"""What a network is trained on beside pseudo labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from mplframe.config.base import ComponentConfig

View = Literal["labeled", "labeled_strong", "weak", "strong"]
"""`labeled` and `labeled_strong`: the two views of the labeled batch; `weak` and `strong`: those of the unlabeled."""
VIEWS: tuple[View, ...] = ("labeled", "labeled_strong", "weak", "strong")
"""All of them; where several go through one forward, in this order."""


@dataclass(frozen=True)
class LossInputs:
    """What a loss may look at.

    Attributes:
        logits: [N, C] for each view that the loss asked for.
        labels: [N] int64 of the labeled batch.
        step: number of the step, from 0.
        steps: how many there will be.
        targets: [N, C] float32 probabilities that an earlier stage assigned to the unlabeled batch; None where none
            did.
    """

    logits: dict[View, Tensor]
    labels: Tensor
    step: int
    steps: int
    targets: Tensor | None = None


class AuxLoss(ABC):
    """One term of a network's loss.

    Attributes:
        views: whose logits it needs; a view that no loss needs isn't computed.
        weight: what its mean over the batch is multiplied by.
    """

    Config: type[ComponentConfig]
    views: frozenset[View]
    weight: float = 1.0

    @abstractmethod
    def __call__(self, inputs: LossInputs) -> Tensor:
        """[N] one loss a sample; the caller takes the mean over all micro-batches and ranks."""
