"""Proof 1: `exact` is the gradient of the labeled loss through the optimizer's whole step, to rounding.

The reference differentiates the labeled loss twice through the step by autograd, with the optimizer's rule written out
anew. Both take soft labels, so that there is nothing to average.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from feedback_support import flat
from hypothesis import given, settings
from hypothesis import strategies as st
from meta_gradient_support import OPTIMIZERS, STEP, Setting, clipped, heard, labeled_loss, leaves, logits
from optimizer_reference import stepped
from torch import Tensor

from mplframe.contracts.feedback import Feedback
from mplframe.feedback.exact import Exact


def reference(setting: Setting) -> Tensor:
    """The teacher's gradient by autograd through the student's step."""
    student, teacher = setting.student(), setting.teacher()
    theta, psi = leaves(student.module), leaves(teacher.module)
    losses = []
    for part, batch in enumerate(setting.batch(STEP).split(setting.accumulate)):
        assert batch.unlabeled is not None
        assert batch.unlabeled.strong is not None
        q = (logits(teacher.module, psi, batch.unlabeled.weak, "teacher", part) / setting.temperature).softmax(-1)
        q = (1 - setting.smoothing) * q + setting.smoothing / setting.classes
        logp = logits(student.module, theta, batch.unlabeled.strong, "student", part).log_softmax(-1)
        losses.append(-(q * logp).sum(-1).mean())
    g = list(torch.autograd.grad(torch.stack(losses).mean(), list(theta.values()), create_graph=True))
    after = stepped(student.learner.optimizer, list(theta.values()), clipped(g, setting.clip))
    loss = labeled_loss(setting, student.module, dict(zip(theta, after, strict=True)))
    return flat(list(torch.autograd.grad(loss, list(psi.values()))))


def error(setting: Setting, estimator: Exact | None = None) -> float:
    """Relative, in the norm."""
    exact = reference(setting)
    return ((heard(setting, estimator or Exact()) - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("network", ["mlp", "cnn", "dropout"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_is_the_gradient_through_the_optimizer(network: str, optimizer: str) -> None:
    assert error(Setting(network=network, optimizer=optimizer)) < 1e-10


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_with_clipping_smoothing_temperature_and_accumulation(optimizer: str) -> None:
    setting = Setting("cnn", optimizer, temperature=0.7, smoothing=0.1, clip=0.05, accumulate=2)
    assert error(setting) < 1e-10
    assert error(replace(setting, clip=1e6)) < 1e-10


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    st.builds(
        Setting,
        network=st.sampled_from(["mlp", "cnn", "dropout"]),
        optimizer=st.sampled_from(sorted(OPTIMIZERS)),
        classes=st.integers(2, 6),
        unlabeled=st.integers(2, 6),
        labeled=st.integers(2, 7),
        temperature=st.floats(0.3, 3.0),
        smoothing=st.floats(0.0, 0.5),
        clip=st.none() | st.floats(0.01, 1.0),
        seed=st.integers(0, 1000),
    )
)
def test_whatever_the_shapes_and_settings(setting: Setting) -> None:
    assert error(setting) < 1e-9


@pytest.mark.parametrize("network", ["mlp", "cnn", "dropout"])
def test_central_differences_come_close(network: str) -> None:
    setting = Setting(network=network, optimizer="rmsprop")
    assert error(setting, Exact(Exact.Config(derivative="differences"))) < 1e-6


def test_the_constant_of_a_distribution_teaches_nothing() -> None:
    """So that a baseline around `exact` changes nothing."""
    setting = Setting("cnn", "nesterov")

    class Shifted(Exact):  # type: ignore[misc]
        def estimate(self, step: Any) -> Feedback:
            feedback = super().estimate(step)
            return replace(feedback, h=feedback.h - 17.0)

    assert error(setting, Shifted()) < 1e-10


def wrong_weights(setting: Setting) -> float:
    """The sensitivity at the weights after the step in place of those before."""

    class AtNew(Exact):  # type: ignore[misc]
        def estimate(self, step: Any) -> Feedback:
            step._before.weights = tuple(p.detach().clone() for p in step._student.learner.parameters)
            return super().estimate(step)

    return error(setting, AtNew())


def no_pullback(setting: Setting) -> float:
    """The displacement of plain gradient descent, whatever the optimizer."""

    class Plain(Exact):  # type: ignore[misc]
        def estimate(self, step: Any) -> Feedback:
            lr = step._student.learner.optimizer.param_groups[0]["lr"]
            return Feedback(-step.sensitivity(tuple(-lr * v for v in step.labeled_gradient())), "sum")

    return error(setting, Plain())


@pytest.mark.parametrize("wrong", [wrong_weights, no_pullback])
@pytest.mark.parametrize("optimizer", ["nesterov", "rmsprop", "adam", "lars"])
def test_known_mistakes_are_far_off(wrong: Callable[[Setting], float], optimizer: str) -> None:
    assert wrong(Setting("cnn", optimizer)) > 1e-2
