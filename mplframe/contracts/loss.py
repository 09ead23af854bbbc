"""What a network is trained on beside pseudo labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from mplframe.config.base import ComponentConfig

View = Literal["labeled", "labeled_strong", "labeled_mixed", "weak", "strong", "weak_averaged", "assigned"]
"""What losses may ask for. `labeled` and `labeled_strong`: the two views of the labeled batch; `labeled_mixed`: its
images mixed in pairs; `weak` and `strong`: those of the unlabeled; `weak_averaged`: the weak one as the average of the
network's weights sees it, without a graph; `assigned`: in place of unlabeled images the probabilities that an earlier
stage assigned to them."""
VIEWS: tuple[View, ...] = get_args(View)
"""All of them; where several go through one forward, in this order."""


def of_labeled(view: View) -> bool:
    """Whether the view is of labeled samples."""
    return view.startswith("labeled")


@dataclass(frozen=True)
class Mix:
    """How the labeled images of the view `labeled_mixed` were mixed.

    Attributes:
        partner: [N] int64, the number of the other image.
        share: [] of the image itself; the rest is the partner's.
    """

    partner: Tensor
    share: Tensor


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
        mix: where the view `labeled_mixed` is asked for.
    """

    logits: dict[View, Tensor]
    labels: Tensor
    step: int
    steps: int
    targets: Tensor | None = None
    mix: Mix | None = None


class AuxLoss(ABC):
    """One term of a network's loss.

    Attributes:
        views: whose logits it needs; a view that no loss needs isn't computed.
        weight: what its mean over the batch is multiplied by.
        relative: whether that mean is over the samples that the loss uses (see `used`), rather than over all. It is a
            quotient of two sums over the whole batch, whatever micro-batches and processes the batch is cut into.
        alpha: of Beta(alpha, alpha), from which `labeled_mixed` draws its share; None for losses without that view.
    """

    Config: type[ComponentConfig]
    views: frozenset[View]
    weight: float = 1.0
    alpha: float | None = None
    relative: bool = False

    @abstractmethod
    def __call__(self, inputs: LossInputs) -> Tensor:
        """[N] one loss a sample, which depends on no other sample of the batch: a batch may come in micro-batches and
        be shared by processes. The caller takes the mean over all of them."""

    def used(self, inputs: LossInputs) -> Tensor | None:
        """[N] bool, the samples that the term learns from, or None where it learns from all.

        Runs report the share, and warn where hardly a sample gets over a threshold.
        """
        return None
