"""Mean Teacher: the network is to agree with the average of its weights."""

import math
from typing import Annotated, Literal, final

from pydantic import Field
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.loss import AuxLoss, LossInputs, View


def consistency(logits: Tensor, averaged: Tensor) -> Tensor:
    """`|p - q|^2 / C` for each sample, with p the network's prediction and q that of the averaged weights.

    Args:
        logits: [N, C] of p.
        averaged: [N, C] of q; no gradient goes there.

    Returns:
        [N].
    """
    wide = [each if each.dtype.itemsize > 4 else each.float() for each in (logits, averaged.detach())]
    p, q = (each.softmax(-1) for each in wide)
    return (p - q).square().mean(-1)


@final
class MeanTeacher(AuxLoss):
    """The unlabeled term; its weight grows as `exp(-5 (1 - t)^2)`. The stage keeps an average of the weights (`ema`).

    Source: Tarvainen and Valpola, Mean teachers are better role models, 2017, section 2; a baseline of MPL v4, table 2.
    """

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            weight: of the term when it has grown.
            ramp: share of the stage's steps in which it grows.
            view: that the network sees; the average sees the weak one.
        """

        name: Literal["mean_teacher"] = "mean_teacher"
        weight: Annotated[float, Field(ge=0)] = 100.0
        ramp: Annotated[float, Field(ge=0, le=1)] = 0.25
        view: Literal["weak", "strong"] = "strong"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.weight = self.config.weight
        self.view: View = self.config.view
        self.views = frozenset({self.view, "weak_averaged"})

    def __call__(self, inputs: LossInputs) -> Tensor:
        grown = min(1.0, (inputs.step + 1) / max(1.0, self.config.ramp * inputs.steps))
        factor = math.exp(-5.0 * (1.0 - grown) ** 2)
        return factor * consistency(inputs.logits[self.view], inputs.logits["weak_averaged"])
