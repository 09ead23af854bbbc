"""The sum of auxiliary losses of one network, over the views that they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mplframe.contracts.batch import Batch, Metrics
from mplframe.contracts.loss import AuxLoss, LossInputs, Mix, View


@dataclass(frozen=True)
class Objective:
    """Auxiliary losses with their weights.

    Attributes:
        losses: by the name under which they are logged.
        pooled: whether the total is the mean over the samples of all losses together, as of one batch of concatenated
            samples (Noisy Student, section 3.1), rather than the sum of each loss's own mean.
    """

    losses: Sequence[tuple[str, AuxLoss]]
    pooled: bool = False

    @classmethod
    def of(cls, losses: Sequence[AuxLoss], *, pooled: bool = False) -> Objective:
        """Losses named after their components; a second one of the same name gets a number."""
        named: dict[str, AuxLoss] = {}
        for loss in losses:
            name = getattr(getattr(loss, "config", None), "name", type(loss).__name__.lower())
            named[name if name not in named else f"{name}_{len(named)}"] = loss
        return cls(tuple(named.items()), pooled)

    @property
    def alpha(self) -> float | None:
        """Of the mixing that a loss asks for."""
        return next((loss.alpha for _, loss in self.losses if loss.alpha is not None), None)

    @property
    def views(self) -> frozenset[View]:
        """Whose logits are needed."""
        return frozenset[View]().union(*(loss.views for _, loss in self.losses))

    def __call__(self, inputs: LossInputs) -> tuple[Tensor, Metrics]:
        """[] the weighted sum of the losses' means, and each mean by name."""
        values = {name: loss(inputs) for name, loss in self.losses}
        means = {name: value.mean() for name, value in values.items()}
        samples = sum(len(value) for value in values.values())
        share = {name: len(value) / samples if self.pooled else 1.0 for name, value in values.items()}
        terms = [loss.weight * share[name] * means[name] for name, loss in self.losses]
        total = torch.stack(terms).sum() if terms else inputs.labels.new_zeros((), dtype=torch.float32)
        return total, {name: mean.detach() for name, mean in means.items()}


@dataclass(frozen=True)
class Seen:
    """Logits of a batch's views, and what else losses have to know about them."""

    logits: dict[View, Tensor]
    mix: Mix | None = None

    def inputs(self, batch: Batch, step: int, steps: int) -> LossInputs:
        """What losses are shown."""
        assert batch.labeled.labels is not None
        targets = None if batch.unlabeled is None else batch.unlabeled.targets
        return LossInputs(self.logits, batch.labeled.labels, step, steps, targets, self.mix)
