"""The supervised term with smoothed labels."""

from typing import Annotated, Literal, final

from pydantic import Field
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.loss import AuxLoss, LossInputs, View
from mplframe.losses.cross_entropy import cross_entropy


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
