"""Cross entropy of labeled samples, with and without label smoothing."""

from __future__ import annotations

from typing import Annotated, Literal, final

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.loss import AuxLoss, LossInputs, View


def cross_entropy(logits: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """`-sum_c q_c log p_c` for each sample, with q the target mixed with the uniform distribution.

    Args:
        logits: [N, C] of p.
        target: [N] int64 classes, or [N, C] probabilities.
        smoothing: share of the uniform distribution in q (label smoothing).

    Returns:
        [N] float32 or wider, in nats.
    """
    # Half precision logits would lose the small differences that feedback is made of.
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return F.cross_entropy(wide, target, reduction="none", label_smoothing=smoothing)


def confident(logits: Tensor, threshold: float) -> Tensor:
    """[N] bool: whether the most likely class (at temperature 1) of [N, C] logits has at least this probability."""
    wide = logits.detach() if logits.dtype == torch.float64 else logits.detach().float()
    return wide.softmax(-1).amax(-1) >= threshold


@final
class Supervised(AuxLoss):
    """`CE(y, p)` on one view of the labeled batch (MPL v4, algorithm 1)."""

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            weight: of the term.
            view: `labeled`, or `labeled_strong` to train on RandAugment-ed images.
        """

        name: Literal["supervised"] = "supervised"
        weight: Annotated[float, Field(ge=0)] = 1.0
        view: Literal["labeled", "labeled_strong"] = "labeled"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.weight = self.config.weight
        self.view: View = self.config.view
        self.views = frozenset({self.view})

    def __call__(self, inputs: LossInputs) -> Tensor:
        return cross_entropy(inputs.logits[self.view], inputs.labels)


@final
class LabelSmoothing(AuxLoss):
    """`CE((1 - e) y + e / C, p)` on one view of the labeled batch; takes the place of `supervised`."""

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            weight: of the term.
            smoothing: e, the share of the uniform distribution (MPL v4, table 8: 0.1).
            view: `labeled`, or `labeled_strong` to train on RandAugment-ed images.
        """

        name: Literal["label_smoothing"] = "label_smoothing"
        weight: Annotated[float, Field(ge=0)] = 1.0
        smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
        view: Literal["labeled", "labeled_strong"] = "labeled"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.weight = self.config.weight
        self.view: View = self.config.view
        self.views = frozenset({self.view})

    def __call__(self, inputs: LossInputs) -> Tensor:
        return cross_entropy(inputs.logits[self.view], inputs.labels, smoothing=self.config.smoothing)
