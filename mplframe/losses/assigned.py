"""Learning what an earlier stage assigned: the pseudo labels of Noisy Student and of billion-scale learning."""

from typing import Annotated, Literal, final

from pydantic import Field
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.loss import AuxLoss, LossInputs, View
from mplframe.errors import UserError
from mplframe.losses.supervised import cross_entropy


@final
class Assigned(AuxLoss):
    """`CE(q, p)` on one view of the unlabeled batch, with q the assigned probabilities: soft, or all on one class.

    Source: Noisy Student, algorithm 1, step 3; Billion-scale SSL, section 3.1, step 3.
    """

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            weight: of the term.
            view: of the unlabeled batch.
            smoothing: share of the uniform distribution in q.
        """

        name: Literal["assigned"] = "assigned"
        weight: Annotated[float, Field(ge=0)] = 1.0
        view: Literal["weak", "strong"] = "strong"
        smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.weight = self.config.weight
        self.view: View = self.config.view
        self.views = frozenset({self.view})

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Raises UserError where no earlier stage assigned anything."""
        if inputs.targets is None:
            raise UserError(
                "the loss 'assigned' learns labels that were assigned to unlabeled samples, but these have none; name "
                "a manifest (`manifest: FILE`, made by `mplframe select`), use it in a method that labels first, such "
                "as noisy_student, or take another loss"
            )
        return cross_entropy(inputs.logits[self.view], inputs.targets, smoothing=self.config.smoothing)
