"""Proof 2: over all label assignments, the mean of what the teacher hears is the exact gradient, to first order.

The reference is the labeled loss at the student's expected displacement, `R(theta + sum_y P(y) f(g_y))`, differentiated
by autograd through the probabilities P(y) of the C^N assignments: it knows nothing of feedback. What `dot` and
`per_example` leave out is of second order in the learning rate, so that their relative error halves with it.
"""

from dataclasses import replace
from itertools import product

import pytest
import torch
from feedback_support import flat
from meta_gradient_support import LINEAR, OPTIMIZERS, STEP, Setting, clipped, heard, labeled_loss, leaves, logits
from optimizer_reference import stepped
from torch import Tensor

from mplframe.contracts.feedback import Feedback, FeedbackEstimator, StudentStep
from mplframe.errors import UserError
from mplframe.feedback.dot import Dot
from mplframe.feedback.per_example import PerExample
from mplframe.feedback.taylor import Taylor
from mplframe.losses.supervised import cross_entropy
from mplframe.training.teacher import feedback_loss

RATES = (2e-4, 1e-4)
TINY = Setting(unlabeled=3, kind="sampled")


def assignments(setting: Setting) -> list[Tensor]:
    return [torch.tensor(y) for y in product(range(setting.classes), repeat=setting.unlabeled)]


def displacement(setting: Setting, y: Tensor) -> list[Tensor]:
    """`f(g_y)`, from the optimizer's rule and the cross entropy written out."""
    student = setting.student()
    theta, losses = leaves(student.module), []
    parts = setting.batch(STEP).split(setting.accumulate)
    for part, (batch, labels) in enumerate(zip(parts, y.chunk(len(parts)), strict=True)):
        assert batch.unlabeled is not None
        assert batch.unlabeled.strong is not None
        logp = logits(student.module, theta, batch.unlabeled.strong, "student", part).log_softmax(-1)
        own = -logp[range(len(labels)), labels]
        losses.append(((1 - setting.smoothing) * own - setting.smoothing * logp.mean(-1)).mean())
    g = clipped(list(torch.autograd.grad(torch.stack(losses).mean(), list(theta.values()))), setting.clip)
    after = stepped(student.learner.optimizer, list(theta.values()), g)
    return [b.detach() - a.detach() for a, b in zip(theta.values(), after, strict=True)]


def probabilities(setting: Setting, psi: dict[str, Tensor]) -> Tensor:
    """[N, C] of the teacher."""
    teacher, rows = setting.teacher(), []
    for part, batch in enumerate(setting.batch(STEP).split(setting.accumulate)):
        assert batch.unlabeled is not None
        rows.append(logits(teacher.module.train(), psi, batch.unlabeled.weak, "teacher", part))
    return (torch.cat(rows) / setting.temperature).softmax(-1)


def exact_gradient(setting: Setting) -> Tensor:
    student, psi = setting.student(), leaves(setting.teacher().module)
    q, every = probabilities(setting, psi), assignments(setting)
    weights = [q[range(len(y)), y].prod() for y in every]
    moves = [displacement(setting, y) for y in every]
    theta = {name: p.detach() for name, p in student.module.named_parameters()}
    after = {
        name: p + sum(w * move[i] for w, move in zip(weights, moves, strict=True))
        for i, (name, p) in enumerate(theta.items())
    }
    loss = labeled_loss(setting, student.module, after)
    return flat(list(torch.autograd.grad(loss, list(psi.values()))))


def relative_error(setting: Setting, estimator: FeedbackEstimator) -> float:
    """Of the mean over all assignments, against the exact gradient."""
    q = probabilities(setting, leaves(setting.teacher().module)).detach()
    weights = torch.stack([q[range(len(y)), y].prod() for y in assignments(setting)])
    assert weights.sum().item() == pytest.approx(1.0, abs=1e-12)
    mean = weights @ torch.stack([heard(setting, estimator, y) for y in assignments(setting)])
    exact = exact_gradient(setting)
    return ((mean - exact).norm() / exact.norm()).item()


def errors(setting: Setting, estimator: FeedbackEstimator) -> list[float]:
    return [relative_error(replace(setting, rate=rate), estimator) for rate in RATES]


def is_proved(found: list[float]) -> bool:
    """Small at the last rate, and half of what it is at twice the rate."""
    return found[1] < 0.05 and 1.7 < found[0] / found[1] < 2.4


@pytest.mark.parametrize("network", ["mlp", "cnn", "dropout"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_dot_is_unbiased_to_first_order(network: str, optimizer: str) -> None:
    found = errors(replace(TINY, network=network, optimizer=optimizer), Dot())
    assert is_proved(found), found


@pytest.mark.parametrize("network", ["mlp", "cnn", "dropout"])
@pytest.mark.parametrize("optimizer", LINEAR)
def test_per_example_is_unbiased_to_first_order(network: str, optimizer: str) -> None:
    found = errors(replace(TINY, network=network, optimizer=optimizer), PerExample())
    assert is_proved(found), found


@pytest.mark.parametrize("estimator", [Dot(), PerExample()])
@pytest.mark.parametrize("change", [{"temperature": 0.7, "smoothing": 0.1}, {"accumulate": 3}, {"classes": 2}], ids=str)
def test_so_it_is_with_other_settings(estimator: FeedbackEstimator, change: dict[str, float]) -> None:
    found = errors(replace(TINY, network="dropout", optimizer="nesterov", **change), estimator)
    assert is_proved(found), found


def test_taylor_is_dot_to_first_order_where_nothing_else_moves() -> None:
    found = errors(TINY, Taylor())
    assert is_proved(found), found


def altered(change: str) -> FeedbackEstimator:
    """`dot`, with one of the known mistakes."""

    class Wrong(Dot):  # type: ignore[misc]
        def estimate(self, step: StudentStep) -> Feedback:
            feedback = super().estimate(step)
            if change == "mean":
                return replace(feedback, reduction="mean")
            if change == "momentum":
                # The whole displacement, with what would have happened anyway.
                before, after = step._before.weights, step._student.learner.parameters
                gone = tuple(a.detach() - b for a, b in zip(after, before, strict=True))
                return Feedback(-step.inner(step.labeled_gradient(), gone), "sum")
            return replace(feedback, h=-feedback.h)

    made = Wrong()
    made.requires = frozenset({"displacement", "old_weights"})
    return made


@pytest.mark.parametrize("change", ["sign", "mean"])
def test_known_mistakes_fail_the_proof(change: str) -> None:
    """`new - old` in place of `old - new`; the papers' mean, which is 1/N of the gradient."""
    found = errors(TINY, altered(change))
    assert found[-1] > 0.3
    assert not is_proved(found)


def test_another_label_than_the_students_fails_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """The teacher's argmax, in place of the sample that the student was given."""
    right = feedback_loss

    def argmax(logits: Tensor, labels: Tensor, h: Tensor, *, share: float) -> Tensor:
        return right(logits, logits.argmax(-1), h, share=share)

    monkeypatch.setattr("mplframe.training.teacher.feedback_loss", argmax)
    found = errors(TINY, Dot())
    assert found[-1] > 0.3


def test_the_sign_alone_makes_an_error_of_twice_the_gradient() -> None:
    assert relative_error(replace(TINY, rate=RATES[-1]), altered("sign")) == pytest.approx(2.0, abs=0.05)


def test_what_no_label_has_a_part_in_changes_nothing_on_average() -> None:
    """As no constant does: h of the whole displacement differs from `dot` by what momentum and decay do anyway."""
    assert relative_error(replace(TINY, optimizer="nesterov", rate=RATES[-1]), altered("momentum")) < 0.05


def spread(setting: Setting, estimator: FeedbackEstimator) -> float:
    """Variance of what the teacher hears, over the assignments."""
    q = probabilities(setting, leaves(setting.teacher().module)).detach()
    weights = torch.stack([q[range(len(y)), y].prod() for y in assignments(setting)])
    every = torch.stack([heard(setting, estimator, y) for y in assignments(setting)])
    return float(weights @ (every - weights @ every).square().sum(1))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_per_example_varies_less_than_dot(network: str, seed: int) -> None:
    """Proof 3, at equal cost of labels: what a sample hears of the others' labels is noise."""
    setting = replace(TINY, network=network, optimizer="nesterov", rate=RATES[-1], seed=seed)
    assert spread(setting, PerExample()) < 0.6 * spread(setting, Dot())


def test_a_soft_target_without_gradient_teaches_nothing_and_is_refused() -> None:
    """The teacher's own distribution as the target of the same logits, as in the code that the authors published."""
    given = torch.randn((4, 3), dtype=torch.float64, requires_grad=True)
    target = given.detach().softmax(-1)
    (slope,) = torch.autograd.grad(cross_entropy(given, target).sum(), given)
    assert slope.abs().max() < 1e-15
    with pytest.raises(UserError, match="use the feedback `exact`"):
        feedback_loss(given, target, torch.ones(()), share=1.0)


def test_the_mean_form_is_one_nth_of_the_sum() -> None:
    for y in (torch.tensor([0, 1, 2]), torch.tensor([2, 2, 0])):
        whole, part = (heard(TINY, estimator, y) for estimator in (Dot(), altered("mean")))
        torch.testing.assert_close(len(y) * part, whole)
