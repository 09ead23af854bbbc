"""Mixup: labeled images and their labels, mixed in pairs."""

from typing import Annotated, Literal, final

import torch
from pydantic import Field
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.loss import AuxLoss, LossInputs
from mplframe.errors import UserError
from mplframe.losses.supervised import cross_entropy


def mixup(logits: Tensor, labels: Tensor, partner: Tensor, share: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """`share CE(y_i, p_i) + (1 - share) CE(y_partner(i), p_i)`.

    Args:
        logits: [N, C] of the mixed images.
        labels: [N] int64.
        partner: [N] int64.
        share: [].
        smoothing: share of the uniform distribution in each label.

    Returns:
        [N], in nats.
    """
    own = cross_entropy(logits, labels, smoothing=smoothing)
    other = cross_entropy(logits, labels[partner], smoothing=smoothing)
    return torch.lerp(other, own, share.to(own.dtype))


@final
class Mixup(AuxLoss):
    """Takes the place of `supervised`. Source: Zhang et al., mixup, 2018; MPL v4, table 10."""

    views = frozenset({"labeled_mixed"})

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            weight: of the term.
            alpha: images are mixed in shares drawn from Beta(alpha, alpha), one for each batch.
            smoothing: of the labels.
        """

        name: Literal["mixup"] = "mixup"
        weight: Annotated[float, Field(ge=0)] = 1.0
        alpha: Annotated[float, Field(gt=0)] = 0.2
        smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.weight = self.config.weight
        self.alpha = self.config.alpha

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Raises UserError where the images weren't mixed."""
        if inputs.mix is None:
            raise UserError(
                "mixup is given images that weren't mixed; only stages that look at `labeled_mixed` can use it"
            )
        partner, share = (each.to(inputs.labels.device) for each in (inputs.mix.partner, inputs.mix.share))
        logits = inputs.logits["labeled_mixed"]
        return mixup(logits, inputs.labels, partner, share, smoothing=self.config.smoothing)
