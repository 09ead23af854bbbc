"""The supervised term: cross entropy on labeled samples."""

from typing import Annotated, Literal, final

from pydantic import Field
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.loss import AuxLoss, LossInputs, View
from mplframe.losses.cross_entropy import cross_entropy


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
