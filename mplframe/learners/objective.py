"""The sum of auxiliary losses of one network, over the views that they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mplframe.contracts.batch import Batch, Metrics
from mplframe.contracts.loss import VIEWS, AuxLoss, LossInputs, View
from mplframe.errors import UserError


@dataclass(frozen=True)
class Objective:
    """Auxiliary losses with their weights.

    Attributes:
        losses: by the name under which they are logged.
    """

    losses: Sequence[tuple[str, AuxLoss]]

    @classmethod
    def of(cls, losses: Sequence[AuxLoss]) -> Objective:
        """Losses named after their components; a second one of the same name gets a number."""
        named: dict[str, AuxLoss] = {}
        for loss in losses:
            name = getattr(getattr(loss, "config", None), "name", type(loss).__name__.lower())
            named[name if name not in named else f"{name}_{len(named)}"] = loss
        return cls(tuple(named.items()))

    @property
    def views(self) -> frozenset[View]:
        """Whose logits are needed."""
        return frozenset[View]().union(*(loss.views for _, loss in self.losses))

    def __call__(self, inputs: LossInputs) -> tuple[Tensor, Metrics]:
        """[] the weighted sum of the losses' means, and each mean by name."""
        means = {name: loss(inputs).mean() for name, loss in self.losses}
        terms = [loss.weight * means[name] for name, loss in self.losses]
        total = torch.stack(terms).sum() if terms else inputs.labels.new_zeros((), dtype=torch.float32)
        return total, {name: mean.detach() for name, mean in means.items()}


def loss_inputs(logits: dict[View, Tensor], batch: Batch, step: int, steps: int) -> LossInputs:
    """What losses are shown of a batch, given the logits of its views."""
    assert batch.labeled.labels is not None
    targets = None if batch.unlabeled is None else batch.unlabeled.targets
    return LossInputs(logits, batch.labeled.labels, step, steps, targets)


def images_of(batch: Batch, view: View) -> Tensor:
    """The images of one view.

    Raises:
        UserError: the batch has no unlabeled samples, or no strong view.
    """
    if view == "labeled":
        return batch.labeled.weak
    samples = batch.labeled if view == "labeled_strong" else batch.unlabeled
    if samples is None:
        raise UserError(f"a loss needs the {view} view of unlabeled samples, but the method is fed none")
    if view == "weak":
        return samples.weak
    if samples.strong is None:
        raise UserError(f"a loss needs the {view} view, but batches have no strong view")
    return samples.strong


def forward_views(module: nn.Module, batch: Batch, views: frozenset[View]) -> dict[View, Tensor]:
    """[N, C] logits of each view, by one forward of all of them: BatchNorm sees them as one batch."""
    order = [view for view in VIEWS if view in views]
    images = [images_of(batch, view) for view in order]
    logits = module(torch.cat(images) if len(images) > 1 else images[0])
    return dict(zip(order, logits.split([len(part) for part in images]), strict=True))
