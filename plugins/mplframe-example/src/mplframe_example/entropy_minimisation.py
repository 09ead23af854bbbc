"""Entropy minimisation: predictions for unlabeled samples should be decided."""

from typing import Annotated, Literal, final

import torch
from mplframe.config.base import ComponentConfig
from mplframe.contracts.loss import AuxLoss, LossInputs, View
from pydantic import Field
from torch import Tensor


def entropy(logits: Tensor) -> Tensor:
    """`-sum_c p_c log p_c` of `p = softmax(logits)`.

    Args:
        logits: [N, C].

    Returns:
        [N] float32 or wider, in nats.
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    logs = wide.log_softmax(-1)
    return -(logs.exp() * logs).sum(-1)


@final
class EntropyMinimisation(AuxLoss):
    """The entropy of the predictions for one view of the unlabeled batch.

    Grandvalet and Bengio, Semi-supervised learning by entropy minimization, 2004.
    """

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            weight: of the term.
            view: whose predictions.
        """

        name: Literal["entropy_minimisation"] = "entropy_minimisation"
        weight: Annotated[float, Field(ge=0)] = 0.1
        view: Literal["weak", "strong"] = "weak"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.weight = self.config.weight
        self.view: View = self.config.view
        self.views = frozenset({self.view})

    def __call__(self, inputs: LossInputs) -> Tensor:
        return entropy(inputs.logits[self.view])
