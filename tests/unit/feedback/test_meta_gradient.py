"""The proof: over all label assignments, the teacher's mean gradient is the exact one, to first order in eta.

The reference differentiates the labeled loss through the student's step by autograd, with soft labels in place of
samples: it knows nothing of feedback. The teacher's mean gradient weighs each of the C^N assignments by its
probability. The difference is of second order in the learning rate, so that the relative error halves with it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from feedback_support import CLASSES, UNLABELED, batch, flat, sgd, student, teacher
from torch import Tensor
from torch.func import functional_call

from mplframe.contracts.feedback import Feedback
from mplframe.contracts.learner import PseudoLabels
from mplframe.feedback.dot import Dot
from mplframe.learners.student import NetworkStudent

RATES = (0.1, 0.05, 0.025)
MOMENTUM = 0.9


@dataclass(frozen=True)
class Setting:
    """What the proof holds for."""

    nesterov: bool = False
    temperature: float = 1.0
    smoothing: float = 0.0
    accumulate: int = 1

    def student(self, eta: float) -> NetworkStudent:
        settings: dict[str, Any] = {"momentum": MOMENTUM, "nesterov": True, "weight_decay": 0.01} if self.nesterov else {}
        made = student(sgd(eta, **settings), smoothing=self.smoothing)
        # So that there is a velocity which the labels of the next step have no part in.
        made.learn([batch(5)], [PseudoLabels(torch.tensor([0, 1, 2]), torch.eye(3).double())], 0, requires=frozenset())
        return made


Wrong = Callable[[Feedback, PseudoLabels], tuple[Feedback, PseudoLabels]]


def unchanged(feedback: Feedback, labels: PseudoLabels) -> tuple[Feedback, PseudoLabels]:
    return feedback, labels


def flipped(feedback: Feedback, labels: PseudoLabels) -> tuple[Feedback, PseudoLabels]:
    """`new - old` in place of `old - new`."""
    return replace(feedback, h=-feedback.h), labels


def argmax(feedback: Feedback, labels: PseudoLabels) -> tuple[Feedback, PseudoLabels]:
    """Not the label that the student was given."""
    return feedback, replace(labels, labels=labels.probabilities.argmax(-1))


def soft(feedback: Feedback, labels: PseudoLabels) -> tuple[Feedback, PseudoLabels]:
    """The teacher's own distribution, without gradient, as the target of the same logits."""
    return feedback, replace(labels, labels=labels.probabilities)


def mean(feedback: Feedback, labels: PseudoLabels) -> tuple[Feedback, PseudoLabels]:
    return replace(feedback, reduction="mean"), labels


def exact_gradient(setting: Setting, eta: float) -> Tensor:
    """The gradient of R(theta') with respect to the teacher, by autograd through the optimizer's step."""
    learning, teaching, given = setting.student(eta), teacher(), batch()
    assert given.unlabeled is not None
    assert given.labeled.labels is not None
    theta = {name: p.detach().clone().requires_grad_() for name, p in learning.module.named_parameters()}
    q = (teaching.module(given.unlabeled.strong) / setting.temperature).softmax(-1)
    q = (1 - setting.smoothing) * q + setting.smoothing / CLASSES
    logp = functional_call(learning.module, theta, (given.unlabeled.strong,)).log_softmax(-1)
    g = torch.autograd.grad(-(q * logp).sum(-1).mean(), list(theta.values()), create_graph=True)
    after = {}
    for (name, p), own, slope in zip(theta.items(), learning.learner.parameters, g, strict=True):
        if setting.nesterov:
            total = slope + 0.01 * p.detach()
            velocity = MOMENTUM * learning.learner.optimizer.state[own]["momentum_buffer"] + total
            after[name] = p.detach() - eta * (total + MOMENTUM * velocity)
        else:
            after[name] = p.detach() - eta * slope
    loss = F.cross_entropy(functional_call(learning.module, after, (given.labeled.weak,)), given.labeled.labels)
    return flat(list(torch.autograd.grad(loss, list(teaching.module.parameters()))))


def teacher_gradient(setting: Setting, eta: float, y: tuple[int, ...], wrong: Wrong) -> tuple[Tensor, float]:
    """What the teacher's own step makes of one assignment, and the assignment's probability."""
    learning, teaching = setting.student(eta), teacher(temperature=setting.temperature)
    parts = batch().split(setting.accumulate)
    labels = teaching.label(parts, 1)
    size = UNLABELED // setting.accumulate
    given = [replace(q, labels=torch.tensor(y[i * size : (i + 1) * size])) for i, q in enumerate(labels)]
    step, _ = learning.learn(parts, given, 1, requires=Dot().requires)
    feedback = Dot().estimate(step)
    before = flat(teaching.learner.parameters)
    changed = [wrong(feedback, q) for q in given]
    teaching.learn(parts, [q for _, q in changed], changed[0][0], 1)
    probabilities = torch.cat([q.probabilities for q in labels])
    return before - flat(teaching.learner.parameters), probabilities[range(UNLABELED), y].prod().item()


def relative_error(setting: Setting, eta: float, wrong: Wrong = unchanged) -> float:
    """Of the mean over all assignments, against the exact gradient."""
    total, weight = torch.zeros(()), 0.0
    for y in product(range(CLASSES), repeat=UNLABELED):
        gradient, probability = teacher_gradient(setting, eta, y, wrong)
        total, weight = total + probability * gradient, weight + probability
    assert weight == pytest.approx(1.0, abs=1e-12)
    exact = exact_gradient(setting, eta)
    return ((total - exact).norm() / exact.norm()).item()


def is_proved(errors: list[float]) -> bool:
    """Small at the last rate, and halved from each rate to the next."""
    ratios = [a / b for a, b in zip(errors, errors[1:], strict=False)]
    return errors[-1] < 0.02 and all(1.8 < ratio < 2.3 for ratio in ratios)


@pytest.mark.parametrize(
    "setting",
    [Setting(), Setting(nesterov=True), Setting(temperature=0.7, smoothing=0.1), Setting(nesterov=True, accumulate=3)],
    ids=str,
)
def test_the_mean_over_all_assignments_is_the_exact_gradient(setting: Setting) -> None:
    errors = [relative_error(setting, eta) for eta in RATES]
    assert is_proved(errors), errors


@pytest.mark.parametrize("wrong", [flipped, argmax, soft, mean])
def test_known_mistakes_fail_the_proof(wrong: Wrong) -> None:
    errors = [relative_error(Setting(), eta, wrong) for eta in RATES[:2]]
    assert errors[-1] > 0.3
    assert not is_proved(errors)


def test_the_sign_alone_makes_an_error_of_twice_the_gradient() -> None:
    assert relative_error(Setting(), RATES[-1], flipped) == pytest.approx(2.0, abs=0.02)


def test_a_soft_target_without_gradient_teaches_nothing() -> None:
    for y in product(range(CLASSES), repeat=UNLABELED):
        assert teacher_gradient(Setting(), 0.1, y, soft)[0].abs().max() < 1e-15


def test_the_mean_form_is_one_nth_of_the_sum() -> None:
    for y in ((0, 1, 2), (2, 2, 0)):
        whole, part = (teacher_gradient(Setting(), 0.1, y, form)[0] for form in (unchanged, mean))
        torch.testing.assert_close(UNLABELED * part, whole)
