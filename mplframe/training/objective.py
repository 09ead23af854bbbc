"""What a network is trained on: views of a batch, the losses on their logits, their metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Batch, Metrics
from mplframe.contracts.loss import VIEWS, AuxLoss, LossInputs, Mix, View
from mplframe.errors import UserError
from mplframe.inference.predict import without_noise
from mplframe.randomness import Key, derive
from mplframe.training.learner import Learner
from mplframe.training.network import frozen_statistics


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

    def counted(self, inputs: LossInputs) -> Metrics:
        """[] for each loss whose mean is `relative`: how many samples of a micro-batch it uses."""
        return {name: _used(loss, inputs).sum(dtype=torch.float32) for name, loss in self._relative}

    def totals(self, parts: Sequence[Metrics], backend: Backend) -> Totals:
        """What the means of the whole batch are taken over.

        Args:
            parts: what `counted` gave for each micro-batch.
            backend: whose processes share the batch.
        """
        names = [name for name, _ in self._relative]
        if not names:
            return Totals(len(parts), {})
        sums = backend.reduce(tuple(torch.stack([part[name] for part in parts]).mean() for name in names))
        one = 1.0 / (len(parts) * backend.world)
        return Totals(len(parts), {name: used.clamp_min(one) for name, used in zip(names, sums, strict=True)})

    @property
    def relative(self) -> bool:
        """Whether a loss has its mean over the samples that it uses."""
        return bool(self._relative)

    @property
    def _relative(self) -> list[tuple[str, AuxLoss]]:
        return [(name, loss) for name, loss in self.losses if loss.relative]

    def __call__(self, inputs: LossInputs, totals: Totals) -> tuple[Tensor, Metrics]:
        """[] the weighted sum of the losses' means, and each mean by name, with the share of samples that it used.

        The mean over micro-batches and processes of what it gives is the value for the whole batch.
        """
        values = {name: loss(inputs) for name, loss in self.losses}
        means = {
            name: value.sum() / totals.used[name].to(value.dtype) if name in totals.used else value.mean()
            for name, value in values.items()
        }
        samples = sum(len(value) for value in values.values())
        share = {name: len(value) / samples if self.pooled else 1.0 for name, value in values.items()}
        terms = [loss.weight * share[name] * means[name] for name, loss in self.losses]
        total = torch.stack(terms).sum() if terms else inputs.labels.new_zeros((), dtype=torch.float32)
        used = {f"{name}_used": each for name, loss in self.losses if (each := loss.used(inputs)) is not None}
        shares = {name: each.float().mean() for name, each in used.items()}
        return total, {name: mean.detach() for name, mean in means.items()} | shares


def _used(loss: AuxLoss, inputs: LossInputs) -> Tensor:
    used = loss.used(inputs)
    if used is None:
        raise UserError(f"the loss {type(loss).__name__} is relative to the samples that it uses; let `used` say which")
    return used


@dataclass(frozen=True)
class Totals:
    """What the means of a whole batch are taken over.

    Attributes:
        parts: micro-batches of the step.
        used: [] by the names of relative losses: samples used in a micro-batch, on average over all of them.
    """

    parts: int
    used: Mapping[str, Tensor]


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


NO_VIEWS: frozenset[View] = frozenset()


def see(
    learner: Learner,
    batch: Batch,
    views: Set[View],
    *key: Key,
    alpha: float | None = None,
    still: Set[View] = NO_VIEWS,
) -> Seen:
    """Logits of each view. All views go through the network as one batch, so that BatchNorm sees them together; only
    `still` ones follow by themselves.

    Args:
        learner: whose network it is.
        batch: on its device.
        views: which.
        key: of the random numbers.
        alpha: see `AuxLoss.alpha`.
        still: views that go without dropout and stochastic depth.

    Raises:
        UserError: the batch lacks a view, or no average of the weights is kept.
    """
    backend, module = learner.backend, learner.module
    averaged: Set[View] = views & {"weak_averaged"}
    mix = mixing(len(batch.labeled), alpha, *key) if "labeled_mixed" in views and alpha is not None else None
    with backend.seeded(derive(*key, backend.rank)), backend.autocast():
        logits = forward(module, batch, views - still - averaged, mix)
        if still & views:
            with without_noise(module):
                logits |= forward(module, batch, views & still, mix)
        if averaged:
            logits["weak_averaged"] = _averaged(learner, batch)
    return Seen(logits, mix)


def mixing(samples: int, alpha: float, *key: Key) -> Mix:
    """Which images are mixed, and how much of each: one share for the batch (Zhang et al., mixup, 2018, section 2)."""
    rng = np.random.Generator(np.random.PCG64(derive(*key, "mix")))
    share = rng.beta(alpha, alpha)
    return Mix(torch.from_numpy(rng.permutation(samples)), torch.tensor(share, dtype=torch.float32))


def forward(module: nn.Module, batch: Batch, views: Set[View], mix: Mix | None = None) -> dict[View, Tensor]:
    """[N, C] logits of each view, by one forward of all of them."""
    order = [view for view in VIEWS if view in views]
    if not order:
        return {}
    images = [images_of(batch, view, mix) for view in order]
    logits = module(torch.cat(images) if len(images) > 1 else images[0])
    return dict(zip(order, logits.split([len(part) for part in images]), strict=True))


def images_of(batch: Batch, view: View, mix: Mix | None = None) -> Tensor:
    """What a network is given of one view.

    Raises:
        UserError: the batch has no unlabeled samples, no strong view, or nothing was assigned.
    """
    if view == "labeled":
        return batch.labeled.weak
    if view == "labeled_mixed":
        return _mixed(batch.labeled.weak, mix)
    samples = batch.labeled if view == "labeled_strong" else batch.unlabeled
    if samples is None:
        raise UserError(f"a loss needs the {view} view of unlabeled samples, but the method is fed none")
    if view in ("weak", "weak_averaged"):
        return samples.weak
    found = samples.targets if view == "assigned" else samples.strong
    if found is None:
        lacking = "nothing was assigned by an earlier stage" if view == "assigned" else "batches have no strong view"
        raise UserError(f"a loss needs the {view} view, but {lacking}")
    return found


def _mixed(images: Tensor, mix: Mix | None) -> Tensor:
    if mix is None:
        raise UserError("a loss needs the labeled_mixed view but says no alpha to mix with")
    share = mix.share.to(images.device)
    blend = share * images.float() + (1.0 - share) * images[mix.partner.to(images.device)].float()
    return blend.round().to(torch.uint8) if images.dtype == torch.uint8 else blend.to(images.dtype)


def _averaged(learner: Learner, batch: Batch) -> Tensor:
    average = learner.train_average()
    with torch.no_grad(), frozen_statistics(average):
        logits: Tensor = average(images_of(batch, "weak"))
    return logits


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """[] share of [N, C] logits whose greatest entry is at the [N] label."""
    return (logits.detach().argmax(-1) == labels).float().mean()


def mean_metrics(parts: Sequence[Metrics]) -> Metrics:
    """The mean of each metric over micro-batches of equal size; both parts of a quotient are averaged."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]} if parts else {}


def prefixed(prefix: str, metrics: Metrics) -> Metrics:
    """The same metrics as `prefix/name`."""
    return {f"{prefix}/{name}": value for name, value in metrics.items()}
