"""The student: it learns from pseudo labels alone, and is measured on labeled samples.

Beside it lie the step that it took, and its directional derivatives.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call

from mplframe.contracts.batch import Batch, Metrics, Tensors
from mplframe.contracts.feedback import Derivative, PseudoLabels, Requirement, Student, StudentStep
from mplframe.errors import UserError
from mplframe.feedback.cosine import cosine
from mplframe.losses.supervised import cross_entropy
from mplframe.randomness import derive
from mplframe.training.labeling import Labeling
from mplframe.training.learner import Learner
from mplframe.training.network import frozen_statistics
from mplframe.training.objective import accuracy, mean_metrics

Function = Callable[[Tensors], Tensor]
Inner = Callable[[Tensors, Tensors], Tensor]


def forward_mode(function: Function, weights: Tensors, direction: Tensors) -> Tensor:
    """`d/dt function(weights + t direction)` at t = 0, to rounding. About the cost of two forwards.

    Raises:
        UserError: an operation of the network has no forward-mode derivative.
    """
    _load_forward_mode()
    try:
        # Dual tensors take half of the memory of torch.func.jvp. A compiled network would be traced anew with them; it
        # runs as it is written instead.
        with torch.no_grad(), torch.compiler.set_stance("force_eager"), forward_ad.dual_level():
            duals = tuple(_dual(w, d) for w, d in zip(weights, direction, strict=True))
            value, slopes = forward_ad.unpack_dual(function(duals))  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        if not any(words in str(error) for words in ("forward AD", "forward mode", "jvp")):
            raise
        raise UserError(
            f"the network has no forward-mode derivative ({' '.join(str(error).split())[:120]}); set "
            "`derivative: differences` in the settings of the feedback"
        ) from error
    return torch.zeros_like(value) if slopes is None else slopes


@cache
def _load_forward_mode() -> None:
    """Torch loads its forward-mode formulas when they are first used, with a warning about a part of torch itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script`", FutureWarning)
        with forward_ad.dual_level():
            _dual(torch.zeros(1), torch.zeros(1)).exp()


def _dual(value: Tensor, slope: Tensor) -> Tensor:
    dual: Tensor = forward_ad.make_dual(value, slope)  # type: ignore[no-untyped-call]
    return dual


def central_differences(function: Function, weights: Tensors, direction: Tensors, inner: Inner) -> Tensor:
    """The same by two forwards, at a distance of `eps^(1/3)` times the norm of the weights to either side.

    That balances rounding against curvature. In float32 it agrees with `forward_mode` to 1e-3 of the norm of the result
    on a small convolutional network with BatchNorm; in float64 to 1e-8.

    Args:
        inner: `<a, b>` over all tensors.
    """
    tiny = torch.finfo(weights[0].dtype)
    far = inner(weights, weights).sqrt() / inner(direction, direction).sqrt().clamp_min(tiny.tiny)
    step = (tiny.eps ** (1 / 3) * far).to(weights[0].dtype)
    with torch.no_grad():
        ahead, behind = (
            function(tuple(w + sign * step * d for w, d in zip(weights, direction, strict=True))) for sign in (1, -1)
        )
    slopes: Tensor = (ahead - behind) / (2 * step)
    return slopes


def directional(
    function: Function, weights: Tensors, direction: Tensors, *, derivative: Derivative, inner: Inner
) -> Tensor:
    """The derivative of `function` at `weights` along `direction`, of the shape of its value."""
    if derivative == "forward":
        return forward_mode(function, weights, direction)
    return central_differences(function, weights, direction, inner)


UNASKED = "the estimator uses {} without listing it as {!r} in `requires`"


class Measurable(Protocol):
    """What a student lets be measured; see `mplframe.training.student.NetworkStudent`."""

    learner: Learner
    label_smoothing: float

    def labeled_gradient(self, batches: Sequence[Batch], step: int) -> tuple[Tensors, Metrics]: ...

    def labeled_loss(self, batches: Sequence[Batch], step: int) -> Metrics: ...

    def log_probabilities(self, batch: Batch, step: int, micro: int, weights: Tensors) -> Tensor: ...


@dataclass
class Before:
    """What was kept from before the step; None for what the estimator doesn't ask for.

    Attributes:
        gradient: g, before clipping.
        label_part: `f(g) - f(0)`.
        weights: theta.
        pullback: `J_f(g)^T`.
        loss: the labeled loss at theta.
    """

    gradient: Tensors | None = None
    label_part: Tensors | None = None
    weights: Tensors | None = None
    pullback: Callable[[Tensors], Tensors] | None = None
    loss: Tensor | None = None


@final
class Move(StudentStep):
    """A step of a student; what an estimator asks for is computed when it is first asked for."""

    def __init__(
        self,
        student: Measurable,
        batches: Sequence[Batch],
        labels: Sequence[PseudoLabels],
        step: int,
        before: Before,
    ) -> None:
        self._student = student
        self._batches = batches
        self._labels = labels
        self._step = step
        self._before = before
        self._labeled_gradient: Tensors | None = None
        self.metrics: Metrics = {}

    @property
    def samples(self) -> int:
        return sum(len(q.labels) for q in self._labels) * self._student.learner.backend.world

    @property
    def labels(self) -> Tensor:
        return torch.cat([q.labels for q in self._labels])

    @property
    def label_part(self) -> Tensors:
        assert self._before.label_part is not None, UNASKED.format("the displacement", "displacement")
        return self._before.label_part

    def labeled_gradient(self) -> Tensors:
        if self._labeled_gradient is None:
            self._labeled_gradient, self.metrics = self._student.labeled_gradient(self._batches, self._step)
            if self._before.gradient is not None:
                # `cosine` is of minus its second vector: f(g) - f(0) points against g.
                self.metrics["gradient_cosine"] = -cosine(self._labeled_gradient, self._before.gradient, self.inner)
                self._before.gradient = None
        return self._labeled_gradient

    def pullback(self, vector: Tensors) -> Tensors:
        assert self._before.pullback is not None, UNASKED.format("the pull-back", "old_weights")
        return self._before.pullback(vector)

    def sensitivity(self, direction: Tensors, *, derivative: Derivative = "forward") -> Tensor:
        assert self._before.weights is not None, UNASKED.format("the sensitivity", "old_weights")
        learner, slopes = self._student.learner, []
        weights, direction = learner.backend.gathered(self._before.weights), learner.backend.gathered(direction)
        with learner.backend.alone(learner.module):
            for i, batch in enumerate(self._batches):

                def logp(given: Tensors, micro: int = i, batch: Batch = batch) -> Tensor:
                    return self._student.log_probabilities(batch, self._step, micro, given)

                slopes.append(directional(logp, weights, direction, derivative=derivative, inner=self.inner))
        # g is the mean over samples of minus log p, weighted by q and, to a share, by the uniform distribution.
        return torch.cat(slopes) * (-(1.0 - self._student.label_smoothing) / self.samples)

    @property
    def labeled_loss_before(self) -> Tensor:
        assert self._before.loss is not None, UNASKED.format("the loss before the step", "old_loss")
        return self._of_all(self._before.loss)

    def labeled_loss(self) -> Tensor:
        if "labeled_loss" not in self.metrics:
            self.metrics = self._student.labeled_loss(self._batches, self._step)
        return self._of_all(self.metrics["labeled_loss"])

    def inner(self, a: Tensors, b: Tensors) -> Tensor:
        return self._student.learner.backend.inner(a, b)

    def mean(self, values: Tensor) -> Tensor:
        # A number that is the same in all processes stays as it is.
        return values if values.ndim == 0 else self._of_all(values.mean())

    def _of_all(self, loss: Tensor) -> Tensor:
        """The mean over processes, so that all of them teach the same."""
        return self._student.learner.backend.reduce((loss,))[0]


@final
class NetworkStudent(Student):
    """A student with a network.

    Args:
        learner: its network and optimizer.
        labeling: which view it learns on.
        label_smoothing: of the pseudo labels (MPL v4, table 8: 0.1).
        seed: of dropout.
    """

    def __init__(
        self, learner: Learner, *, labeling: Labeling | None = None, label_smoothing: float = 0.0, seed: int = 0
    ) -> None:
        self.learner = learner
        self.labeling = labeling or Labeling()
        self.label_smoothing = label_smoothing
        self.seed = seed

    @property
    def module(self) -> nn.Module:
        return self.learner.module

    def evaluated(self, weights: str) -> nn.Module:
        return self.learner.evaluated(weights)

    def learn(
        self,
        batches: Sequence[Batch],
        labels: Sequence[PseudoLabels],
        step: int,
        *,
        requires: frozenset[Requirement],
    ) -> tuple[StudentStep, Metrics]:
        self.learner.train()
        metrics = [
            self._backward(b, q, step, i, len(batches)) for i, (b, q) in enumerate(zip(batches, labels, strict=True))
        ]
        rate = self.learner.set_rate(step)
        gradient = self.learner.take_gradient()
        clipped = self.learner.clipped(gradient)
        before = self._before(batches, gradient, clipped, step, requires)
        # Some optimizers write into the gradient that they step with: what was kept needs it as it was.
        self.learner.apply(tuple(g.clone() for g in clipped) if requires else clipped)
        return Move(self, batches, labels, step, before), {**mean_metrics(metrics), "lr": torch.tensor(rate)}

    def labeled_gradient(self, batches: Sequence[Batch], step: int) -> tuple[Tensors, Metrics]:
        """`v`, the gradient of the labeled loss at the present weights, in training mode.

        Nothing else is touched: neither running statistics, nor random streams, nor `.grad`.
        """
        metrics: list[Metrics] = []
        for i, batch in enumerate(batches):
            loss, found = self._labeled_loss(batch, step, i)
            (loss / len(batches)).backward()  # type: ignore[no-untyped-call]
            metrics.append(found)
        return self.learner.take_gradient(), mean_metrics(metrics)

    def labeled_loss(self, batches: Sequence[Batch], step: int) -> Metrics:
        """The labeled loss at the present weights as `labeled_gradient` sees it, without the gradient."""
        with torch.no_grad():
            return mean_metrics([self._labeled_loss(batch, step, i)[1] for i, batch in enumerate(batches)])

    def log_probabilities(self, batch: Batch, step: int, micro: int, weights: Tensors) -> Tensor:
        """[N, C] what the student says of unlabeled samples with these weights; like `labeled_loss` it leaves no trace.

        Dropout and the normalisation by the batch are those of the forward that the student learned from.
        """
        with frozen_statistics(self.module):
            logits = self._logits(self._learned_view(batch), "student", step, micro, weights)
        return (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)

    def state_dict(self) -> dict[str, Any]:
        return self.learner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.learner.load_state_dict(state)

    def _before(
        self,
        batches: Sequence[Batch],
        gradient: Tensors,
        clipped: Tensors,
        step: int,
        requires: frozenset[Requirement],
    ) -> Before:
        learner = self.learner
        before = Before(gradient=gradient) if requires else Before()
        if "displacement" in requires:
            before.label_part = learner.lookahead.label_part(learner.optimizer, clipped)
        if "old_weights" in requires:
            before.weights = tuple(p.detach().clone() for p in learner.parameters)
            before.pullback = learner.pullback(gradient, clipped)
        if "old_loss" in requires:
            before.loss = self.labeled_loss(batches, step)["labeled_loss"]
        return before

    def _backward(self, batch: Batch, labels: PseudoLabels, step: int, micro: int, parts: int) -> Metrics:
        logits = self._logits(self._learned_view(batch), "student", step, micro)
        loss = cross_entropy(logits, labels.labels, smoothing=self.label_smoothing).mean()
        (loss / parts).backward()  # type: ignore[no-untyped-call]
        return {"loss": loss.detach()}

    def _labeled_loss(self, batch: Batch, step: int, micro: int) -> tuple[Tensor, Metrics]:
        labels = batch.labeled.labels
        assert labels is not None
        with frozen_statistics(self.module):
            logits = self._logits(batch.labeled.weak, "labeled", step, micro)
        loss = cross_entropy(logits, labels).mean()
        return loss, {"labeled_loss": loss.detach(), "labeled_accuracy": accuracy(logits, labels)}

    def _learned_view(self, batch: Batch) -> Tensor:
        assert batch.unlabeled is not None
        return batch.unlabeled.view(self.labeling.student_view)

    def _logits(self, images: Tensor, purpose: str, step: int, micro: int, weights: Tensors | None = None) -> Tensor:
        backend = self.learner.backend
        with backend.seeded(derive(self.seed, purpose, step, micro, backend.rank)), backend.autocast():
            if weights is None:
                logits: Tensor = self.module(images)
            else:
                logits = functional_call(self.module, dict(zip(self.learner.names, weights, strict=True)), (images,))
        return logits
