from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from learner_support import CLASSES, batch, equal, farthest, learner, normed, plain, samples, snapshot, student
from torch import nn

from mplframe.contracts.batch import Batch
from mplframe.contracts.feedback import FeedbackEstimator, PseudoLabels
from mplframe.errors import UserError
from mplframe.feedback.cosine import Cosine
from mplframe.feedback.dot import Dot
from mplframe.feedback.exact import Exact
from mplframe.feedback.per_example import PerExample
from mplframe.feedback.taylor import Taylor
from mplframe.training.labeling import Labeling
from mplframe.training.learner import Learner
from mplframe.training.student import NetworkStudent

NEEDED = Dot().requires


def given(*labels: int) -> list[PseudoLabels]:
    chosen = torch.tensor(labels)
    return [PseudoLabels(chosen, F.one_hot(chosen, CLASSES).double())]


LABELS = given(*(i % CLASSES for i in range(16)))


def test_the_students_step_knows_nothing_of_labeled_samples() -> None:
    one, two = student(normed(1)), student(normed(1))
    other = Batch(samples(8, 999), batch().unlabeled)
    for learning, fed in ((one, batch()), (two, other)):
        step, _ = learning.learn([fed], LABELS, 0, requires=NEEDED)
        step.labeled_gradient()
    assert equal(snapshot(one.module), snapshot(two.module))


def test_a_step_is_one_on_the_pseudo_labels() -> None:
    learning, reference = student(normed(1)), learner(normed(1))
    learning.learn([batch()], LABELS, 0, requires=frozenset())
    unlabeled = batch().unlabeled
    assert unlabeled is not None
    F.cross_entropy(reference.module(unlabeled.strong), LABELS[0].labels).backward()
    reference.apply(reference.take_gradient())
    assert farthest(learning.learner.parameters, reference.parameters) < 1e-14


@pytest.mark.parametrize("view", ["weak", "strong"])
def test_it_learns_on_the_view_it_is_told(view: str) -> None:
    learning = student(plain(1), labeling=Labeling(student_view=view))  # type: ignore[arg-type]
    seen = []
    learning.module.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    learning.learn([batch()], LABELS, 0, requires=frozenset())
    unlabeled = batch().unlabeled
    assert unlabeled is not None
    assert torch.equal(seen[0], unlabeled.view(view))


def test_soft_labels_and_smoothing_enter_the_loss() -> None:
    unlabeled = batch().unlabeled
    assert unlabeled is not None
    q = torch.randn(16, CLASSES, dtype=torch.float64).softmax(-1)
    for labels, target in ((q.argmax(-1), F.one_hot(q.argmax(-1), CLASSES).double()), (q, q)):
        learning = student(plain(1))
        learning.label_smoothing = 0.2
        logp = learning.module(unlabeled.strong).log_softmax(-1)
        expected = -((0.8 * target + 0.2 / CLASSES) * logp).sum(-1).mean()
        _, metrics = learning.learn([batch()], [PseudoLabels(labels, q)], 0, requires=frozenset())
        assert metrics["loss"].item() == pytest.approx(expected.item(), rel=1e-12)


def test_the_labeled_gradient_is_that_of_the_labeled_loss_at_the_new_weights() -> None:
    learning = student(normed(1))
    step, _ = learning.learn([batch()], LABELS, 0, requires=NEEDED)
    reference = normed(2)
    reference.load_state_dict(learning.module.state_dict())
    labeled = batch().labeled
    loss = F.cross_entropy(reference.train()(labeled.weak), labeled.labels)
    expected = torch.autograd.grad(loss, list(reference.parameters()))
    assert farthest(step.labeled_gradient(), expected) < 1e-14
    assert step.metrics["labeled_loss"].item() == pytest.approx(loss.item())


def test_the_labeled_gradient_leaves_no_trace() -> None:
    learning = student(normed(1, dropout=0.5))
    step, _ = learning.learn([batch()], LABELS, 0, requires=NEEDED)
    torch.manual_seed(3)
    before, random = snapshot(learning.module), torch.get_rng_state()
    first = step.labeled_gradient()
    assert equal(snapshot(learning.module), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in learning.learner.parameters)
    assert step.labeled_gradient() is first
    repeated, _ = learning.labeled_gradient([batch()], 0)
    assert farthest(first, repeated) == 0.0


def test_the_label_part_is_that_of_the_clipped_gradient() -> None:
    learning = student(plain(1), clip=1e-3)
    before = [p.detach().clone() for p in learning.learner.parameters]
    step, _ = learning.learn([batch()], LABELS, 0, requires=NEEDED)
    decay = [0.1 * 0.01 * 1.9 * p for p in before]  # of Nesterov's first step, without a gradient
    moved = [p - b + d for p, b, d in zip(learning.learner.parameters, before, decay, strict=True)]
    assert farthest(step.label_part, moved) < 1e-14
    assert torch.cat([p.flatten() for p in step.label_part]).norm().item() == pytest.approx(0.1 * 1.9 * 1e-3, rel=1e-6)


def test_it_counts_the_samples_of_all_micro_batches() -> None:
    parts = batch().split(4)
    labels = [replace(LABELS[0], labels=LABELS[0].labels[i : i + 4]) for i in range(0, 16, 4)]
    step, _ = student(plain(1)).learn(parts, labels, 0, requires=NEEDED)
    assert step.samples == 16


def test_dropout_depends_on_the_step_and_the_seed() -> None:
    def loss(seed: int, step: int) -> float:
        _, metrics = student(plain(1, dropout=0.5), seed=seed).learn([batch()], LABELS, step, requires=frozenset())
        return metrics["loss"].item()

    assert loss(0, 0) == loss(0, 0)
    assert len({loss(0, 0), loss(0, 1), loss(1, 0), loss(1, 1)}) == 4


ESTIMATORS = [Dot(), Taylor(), PerExample(), Exact(), Exact(Exact.Config(derivative="differences"))]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: f"{e.config.name}")
def test_measuring_leaves_no_trace(estimator: FeedbackEstimator) -> None:
    """In weights, running statistics, gradients or random streams."""
    measured, left_alone = (student(normed(1, dropout=0.3)) for _ in range(2))
    random = torch.get_rng_state()
    for step in range(2):
        move, _ = measured.learn(batch(step).split(2), halves(LABELS), step, requires=estimator.requires)
        assert estimator.estimate(move) is not None
        left_alone.learn(batch(step).split(2), halves(LABELS), step, requires=frozenset())
    assert equal(snapshot(measured.module), snapshot(left_alone.module))
    assert all(p.grad is None for p in measured.module.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(m.track_running_stats for m in measured.module.modules() if isinstance(m, nn.BatchNorm2d))


def halves(labels: list[PseudoLabels]) -> list[PseudoLabels]:
    (whole,) = labels
    return [PseudoLabels(y, q) for y, q in zip(whole.labels.chunk(2), whole.probabilities.chunk(2), strict=True)]


def test_the_losses_that_are_compared_come_from_the_same_batch_in_the_same_mode() -> None:
    """A step of no length makes no difference at all, with batch statistics and dropout."""
    learning = student(normed(1, dropout=0.3))
    learning.learner.optimizer.param_groups[0].update(weight_decay=0.0)
    learning.learner._peaks = [0.0]
    move, _ = learning.learn([batch()], LABELS, 0, requires=Taylor().requires)
    assert Taylor().estimate(move).h.item() == 0.0
    assert move.metrics["labeled_loss"] == move.labeled_loss_before


def test_the_labeled_loss_is_that_of_the_labeled_gradient() -> None:
    losses = []
    for measure in ("labeled_loss", "labeled_gradient"):
        move, _ = student(normed(1, dropout=0.3)).learn([batch()], LABELS, 0, requires=frozenset())
        getattr(move, measure)()
        losses.append(move.metrics["labeled_loss"])
    assert losses[0] == losses[1]


def test_the_cosine_of_the_two_gradients_is_seen() -> None:
    """The quantity of MPL v1, figure 8: for gradient descent, the h of `cosine`."""
    module = plain(1)
    learning = NetworkStudent(Learner(module, torch.optim.SGD(module.parameters(), lr=0.1)))
    move, _ = learning.learn([batch()], LABELS, 0, requires=Cosine().requires)
    h = Cosine().estimate(move).h
    torch.testing.assert_close(move.metrics["gradient_cosine"], h)


def test_it_is_seen_as_it_was_before_the_optimizer_wrote_into_the_gradient() -> None:
    """As torch's SGD does with Nesterov momentum, without weight decay, where it takes tensors together (on GPUs)."""
    found = []
    for foreach in (False, True):
        module = plain(1)
        settings = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "foreach": foreach}
        learning = NetworkStudent(Learner(module, torch.optim.SGD(module.parameters(), **settings)))
        for step in range(2):
            move, _ = learning.learn([batch(step)], LABELS, step, requires=Cosine().requires)
            move.labeled_gradient()
        found.append(move.metrics["gradient_cosine"])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize(
    ("estimator", "what"), [(PerExample(), "the pull-back"), (Taylor(), "the loss before the step")]
)
def test_what_was_not_asked_for_was_not_kept(estimator: FeedbackEstimator, what: str) -> None:
    move, _ = student(plain(1)).learn([batch()], LABELS, 0, requires=frozenset())
    with pytest.raises(AssertionError, match=f"uses {what} without listing it"):
        estimator.estimate(move)


class NoForwardMode(torch.autograd.Function):
    """An operation that knows its backward alone."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> torch.Tensor:
        return slope


def test_a_network_without_forward_mode_is_told_what_to_set() -> None:
    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = plain(1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return NoForwardMode.apply(self.body(x))  # type: ignore[no-any-return]

    learning = student(Body())
    move, _ = learning.learn([batch()], LABELS, 0, requires=Exact().requires)
    with pytest.raises(UserError, match="derivative: differences"):
        Exact().estimate(move)
    h = Exact(Exact.Config(derivative="differences")).estimate(move).h
    other, _ = student(plain(1)).learn([batch()], LABELS, 0, requires=Exact().requires)
    torch.testing.assert_close(h, Exact().estimate(other).h, rtol=1e-5, atol=1e-9)
