"""One step of MPL v4, algorithm 1, for many pairs of networks; the closed forms of two classes.

With margin m and p = sigmoid(m), a cross entropy against the label y in [0, 1] has the derivative p - y. What the
feedback is made of comes from `mplframe.feedback`. `tests/benchmarks/two_moons/test_two_moons_step.py` holds whole
steps against the framework's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.two_moons.networks import Forward, along, backward, forward
from benchmarks.two_moons.points import Labeled
from benchmarks.two_moons.settings import Setting
from mplframe.contracts.batch import Tensors
from mplframe.feedback.cosine import cosine
from mplframe.feedback.dot import dot


@dataclass(frozen=True)
class Rates:
    """What differs from row to row in this step: [S, 1] each, meanings as in `Setting`; `feedback` is its weight."""

    student: Tensor
    teacher: Tensor
    feedback: Tensor
    baseline: Tensor
    supervised: Tensor
    uda: Tensor
    uda_temperature: Tensor
    temperature: Tensor


@dataclass(frozen=True)
class Pair:
    """Teachers and students, [S, PARAMETERS] each, and the moving averages of h: [S, 1], None before the first."""

    teacher: Tensor
    student: Tensor
    average: Tensor | None = None


@dataclass(frozen=True)
class Unlabeled:
    """Unlabeled points of a step.

    Attributes:
        weak: [S, 2, N].
        strong: [S, 2, N] with noise; None where nothing asks for it.
        logistic: [S, N] standard logistic noise that pseudo labels are drawn with.
    """

    weak: Tensor
    strong: Tensor | None
    logistic: Tensor


def train_step(
    pair: Pair, unlabeled: Unlabeled, labeled: Labeled, measured: Labeled, setting: Setting, rates: Rates
) -> Pair:
    """One step of the student, then one of the teacher.

    Args:
        pair: before it.
        unlabeled: its points.
        labeled: of the teacher's supervised loss.
        measured: what the student is measured on.
        setting: whose `shape` all rows share; numbers are read from `rates`.
        rates: one row a network.
    """
    views = {"labeled": labeled.x, "weak": unlabeled.weak}
    if unlabeled.strong is not None:
        views["strong"] = unlabeled.strong
    taught = forward(pair.teacher, torch.cat(list(views.values()), dim=2))
    sizes = [x.shape[2] for x in views.values()]
    margins = dict(zip(views, torch.split(taught.margin, sizes, dim=1), strict=True))
    own = margins[setting.view] / rates.temperature  # [S, N]
    y = pseudo_labels(own, unlabeled.logistic, setting)

    learned = forward(pair.student, views[setting.view])
    count = y.shape[1]
    g = backward(pair.student, learned, (learned.margin.sigmoid() - y) / count)
    student = pair.student - rates.student * g
    errors = {name: torch.zeros_like(margin) for name, margin in margins.items()}
    errors["labeled"] = rates.supervised * labeled_error(margins["labeled"], labeled)
    if "strong" in margins:
        target = (margins["weak"] / rates.uda_temperature).sigmoid()
        errors["strong"] = rates.uda * (margins["strong"].sigmoid() - target) / count
    average = pair.average
    if setting.estimator != "off":
        more = unlabeled if setting.measured_on == "consistency" else None
        heard = _Move(pair.student, student, learned, y, own, g, measured, more, rates.student)
        error, average = feedback_error(heard, setting, rates, average)
        errors[setting.view] = errors[setting.view] + rates.feedback * error / rates.temperature
    gradient = backward(pair.teacher, taught, torch.cat(list(errors.values()), dim=1))
    return Pair(pair.teacher - rates.teacher * gradient, student, average)


def pseudo_labels(own: Tensor, logistic: Tensor, setting: Setting) -> Tensor:
    """[S, N] probabilities of class 1, 0 or 1 where they are hard."""
    if setting.labels == "soft":
        return own.sigmoid()
    return (own + logistic > 0).float() if setting.labels == "sampled" else (own > 0).float()


def labeled_error(margin: Tensor, labeled: Labeled) -> Tensor:
    """[S, L] the derivative of the mean cross entropy with respect to the margins."""
    return (margin.sigmoid() - labeled.y) / labeled.y.shape[1]


@dataclass(frozen=True)
class _Move:
    """The student's step: theta and theta', its forward at theta on labels y drawn from margins `own`, its gradient.

    What it is measured on: labeled points, and the consistency on unlabeled ones where R has that too.
    """

    theta: Tensor
    moved: Tensor
    learned: Forward
    y: Tensor
    own: Tensor
    g: Tensor
    measured: Labeled
    unlabeled: Unlabeled | None
    lr: Tensor

    def labeled_gradient(self) -> Tensor:
        """v: [S, PARAMETERS] the gradient of R at theta'."""
        done = forward(self.moved, self.measured.x)
        v = backward(self.moved, done, labeled_error(done.margin, self.measured))
        if self.unlabeled is None:
            return v
        assert self.unlabeled.strong is not None
        strong, target = forward(self.moved, self.unlabeled.strong), forward(self.moved, self.unlabeled.weak).margin
        return v + backward(self.moved, strong, (strong.margin.sigmoid() - target.sigmoid()) / target.shape[1])

    def labeled_loss(self, theta: Tensor) -> Tensor:
        """[S, 1] R."""
        signs = 1 - 2 * self.measured.y
        return F.softplus(forward(theta, self.measured.x).margin * signs).mean(1, keepdim=True)


def feedback_error(move: _Move, setting: Setting, rates: Rates, average: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """[S, N] the derivative of the feedback loss with respect to the teacher's margins, and the new average of h."""
    p = move.own.sigmoid()
    if setting.estimator == "exact":
        slopes, scale = _slopes(move, setting)
        return slopes * p * (1 - p) / scale, average
    h, share = _coefficient(move, setting)
    if setting.baseline:
        mean = h.mean(1, keepdim=True)
        past = mean if average is None else average
        average = rates.baseline * past + (1 - rates.baseline) * mean
        h = h - past
    return share * h * (p - move.y), average


def _coefficient(move: _Move, setting: Setting) -> tuple[Tensor, float]:
    """h, [S, 1] or [S, N], and 1 for the sum over points or 1/N for their mean."""
    if setting.estimator == "taylor":
        return move.labeled_loss(move.theta) - move.labeled_loss(move.moved), 1.0
    if setting.estimator == "per_example":
        slopes, scale = _slopes(move, setting)
        return -slopes * (move.y - move.learned.margin.sigmoid()) / scale, 1.0
    v, label_part = (move.labeled_gradient(),), (-move.lr * move.g,)
    if setting.estimator == "dot":
        return dot(v, label_part, inner), 1.0
    return cosine(v, label_part, inner), 1.0 / move.y.shape[1]


def _slopes(move: _Move, setting: Setting) -> tuple[Tensor, Tensor | float]:
    """[S, N] the derivative of R with respect to the probability of class 1 less that of class 0; what to divide by."""
    v = move.labeled_gradient()
    slopes = move.lr / move.y.shape[1] * along(move.theta, move.learned, v)
    if not setting.normalised:
        return slopes, 1.0
    return slopes, (v.norm(dim=1, keepdim=True) * move.lr * move.g.norm(dim=1, keepdim=True)).clamp_min(1e-12)


def inner(a: Tensors, b: Tensors) -> Tensor:
    """[S, 1] inner products, row by row."""
    return torch.stack([(x * y).sum(1, keepdim=True) for x, y in zip(a, b, strict=True)]).sum(0)
