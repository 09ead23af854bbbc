"""Training-signal annealing: labeled samples count only while the network isn't too sure of them."""

import math
from typing import Annotated, Literal, final

from pydantic import Field
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.loss import AuxLoss, LossInputs, View
from mplframe.losses.supervised import cross_entropy

Curve = Literal["linear", "log", "exp"]


def ceiling(curve: Curve, progress: float, classes: int) -> float:
    """The probability of the true class from which a sample no longer counts; 1 / C at the start, 1 at the end.

    Args:
        curve: how it rises; `exp` late, `log` early.
        progress: of training, 0 to 1.
        classes: C.
    """
    risen = {"linear": progress, "log": 1.0 - math.exp(-5.0 * progress), "exp": math.exp(5.0 * (progress - 1.0))}[curve]
    return risen * (1.0 - 1.0 / classes) + 1.0 / classes


@final
class Annealed(AuxLoss):
    """`CE(y, p)`, over samples whose true class has less than the present ceiling; takes the place of `supervised`.

    Source: Xie et al., Unsupervised Data Augmentation, 2020, section 4.
    """

    relative = True

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            weight: of the term.
            curve: how the ceiling rises.
            smoothing: of the labels.
            view: `labeled` or `labeled_strong`.
        """

        name: Literal["annealed"] = "annealed"
        weight: Annotated[float, Field(ge=0)] = 1.0
        curve: Curve = "linear"
        smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
        view: Literal["labeled", "labeled_strong"] = "labeled"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.weight = self.config.weight
        self.view: View = self.config.view
        self.views = frozenset({self.view})

    def __call__(self, inputs: LossInputs) -> Tensor:
        """[N]; 0 for samples that don't count."""
        losses = cross_entropy(inputs.logits[self.view], inputs.labels, smoothing=self.config.smoothing)
        return losses * self.used(inputs)

    def used(self, inputs: LossInputs) -> Tensor:
        """[N] whether the true class has less than the present ceiling."""
        logits = inputs.logits[self.view].detach()
        most = ceiling(self.config.curve, (inputs.step + 1) / inputs.steps, logits.shape[-1])
        return cross_entropy(logits, inputs.labels) >= -math.log(most)
