"""Components that only these grids need, registered like a plugin's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, final

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor

from mplframe.config.base import ComponentConfig, Kind
from mplframe.contracts.data import DatasetSource, Split, SplitName
from mplframe.contracts.loss import AuxLoss, LossInputs, View
from mplframe.hooks import Components, hookimpl
from mplframe.losses.supervised import cross_entropy


def shifted(labels: Tensor, *, below: int, classes: int) -> Tensor:
    """[N] int64 labels; each that is less than `below` is replaced by the next class."""
    return torch.where(labels < below, (labels + 1) % classes, labels)


@final
class ShiftedLabels(AuxLoss):
    """`label_smoothing` by a teacher's teacher who is wrong: at first some classes are called by the next one's name.

    Only this loss sees the wrong labels. The labeled loss that feedback is made of has the right ones.
    """

    views = frozenset[View]({"labeled"})

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            weight: of the term.
            smoothing: share of the uniform distribution.
            below: classes of a lower index are wrong.
            until: the step from which on all are right.
        """

        name: Literal["shifted_labels"] = "shifted_labels"
        weight: Annotated[float, Field(ge=0)] = 1.0
        smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
        below: NonNegativeInt
        until: NonNegativeInt

    def __init__(self, config: Config) -> None:
        self.config = config
        self.weight = config.weight

    def __call__(self, inputs: LossInputs) -> Tensor:
        logits, labels = inputs.logits["labeled"], inputs.labels
        if inputs.step < self.config.until:
            labels = shifted(labels, below=self.config.below, classes=logits.shape[-1])
        return cross_entropy(logits, labels, smoothing=self.config.smoothing)


@final
class LabeledTwice(DatasetSource):
    """Another dataset without its unlabeled samples: the labeled ones take their place (MPL v4, D.2)."""

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            source: the other dataset.
        """

        name: Literal["labeled_twice"] = "labeled_twice"
        source: Annotated[ComponentConfig, Kind("dataset")]

    def __init__(self, config: Config, source: DatasetSource) -> None:
        self.config = config
        self.source = source

    @property
    def classes(self) -> Sequence[str]:
        return self.source.classes

    def split(self, name: SplitName) -> Split | None:
        return self.source.split("labeled" if name == "unlabeled" else name)

    def fingerprint(self) -> Mapping[str, Any]:
        return {"labeled_twice": self.source.fingerprint()}


@hookimpl
def mplframe_dataset() -> Components:
    return {"labeled_twice": LabeledTwice}


@hookimpl
def mplframe_loss() -> Components:
    return {"shifted_labels": ShiftedLabels}
