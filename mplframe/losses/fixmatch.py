"""FixMatch: the strong view learns the class that the weak view is sure of."""

from typing import Annotated, Literal, final

from pydantic import Field
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.loss import AuxLoss, LossInputs
from mplframe.losses.supervised import confident, cross_entropy


def fixmatch(weak_logits: Tensor, strong_logits: Tensor, *, threshold: float) -> Tensor:
    """`1[max p >= threshold] CE(argmax p, strong)`, with p the prediction for the weak view.

    Args:
        weak_logits: [N, C]; no gradient goes there.
        strong_logits: [N, C].
        threshold: least probability that counts.

    Returns:
        [N], in nats.
    """
    return cross_entropy(strong_logits, weak_logits.detach().argmax(-1)) * confident(weak_logits, threshold)


@final
class FixMatch(AuxLoss):
    """The unlabeled term. Source: Sohn et al., FixMatch, 2020, eq. 4; a baseline of MPL v4, table 2."""

    views = frozenset({"weak", "strong"})

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            weight: of the term.
            threshold: least confidence that counts.
        """

        name: Literal["fixmatch"] = "fixmatch"
        weight: Annotated[float, Field(ge=0)] = 1.0
        threshold: Annotated[float, Field(ge=0, le=1)] = 0.95

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.weight = self.config.weight

    def __call__(self, inputs: LossInputs) -> Tensor:
        return fixmatch(inputs.logits["weak"], inputs.logits["strong"], threshold=self.config.threshold)

    def used(self, inputs: LossInputs) -> Tensor:
        return confident(inputs.logits["weak"], self.config.threshold)
