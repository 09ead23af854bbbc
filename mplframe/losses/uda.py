"""Unsupervised Data Augmentation: the strong view is to be judged like the weak one."""

from typing import Annotated, Literal, final

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.loss import AuxLoss, LossInputs
from mplframe.losses.supervised import confident, cross_entropy


def uda(weak_logits: Tensor, strong_logits: Tensor, *, temperature: float, threshold: float) -> Tensor:
    """`1[max p >= threshold] CE(sharpened p, strong)`, with p the prediction for the weak view, no gradient through p.

    Args:
        weak_logits: [N, C].
        strong_logits: [N, C].
        temperature: the weak logits are divided by it before the softmax; below 1 sharpens.
        threshold: samples whose most likely class (at temperature 1) has less probability count 0.

    Returns:
        [N], in nats.
    """
    weak = weak_logits.detach()
    weak = weak if weak.dtype == torch.float64 else weak.float()
    target = (weak / temperature).softmax(-1)
    return cross_entropy(strong_logits, target) * confident(weak, threshold)


@final
class UDA(AuxLoss):
    """The consistency term of the teacher (MPL v4, algorithm 1 and tables 7 and 8)."""

    views = frozenset({"weak", "strong"})

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            weight: of the term, the papers' UDA factor.
            temperature: of the weak view's prediction.
            threshold: least confidence that counts.
            ramp: steps over which the weight grows linearly from 0; 0 for the full weight at once.
        """

        name: Literal["uda"] = "uda"
        weight: Annotated[float, Field(ge=0)] = 1.0
        temperature: Annotated[float, Field(gt=0)] = 0.8
        threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
        ramp: NonNegativeInt = 0

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.weight = self.config.weight

    def __call__(self, inputs: LossInputs) -> Tensor:
        losses = uda(
            inputs.logits["weak"],
            inputs.logits["strong"],
            temperature=self.config.temperature,
            threshold=self.config.threshold,
        )
        return losses * min(1.0, inputs.step / self.config.ramp) if self.config.ramp else losses

    def used(self, inputs: LossInputs) -> Tensor | None:
        """None without a threshold."""
        return confident(inputs.logits["weak"], self.config.threshold) if self.config.threshold else None
