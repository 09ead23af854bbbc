"""The terms of the baselines, each against its equation written out in NumPy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mplframe.backends.single import Single
from mplframe.contracts.loss import LossInputs, Mix
from mplframe.losses.annealed import Annealed, ceiling
from mplframe.losses.fixmatch import FixMatch
from mplframe.losses.mean_teacher import MeanTeacher
from mplframe.losses.mixup import Mixup
from mplframe.testing import check_loss
from mplframe.training.objective import Objective

LABELS = torch.zeros(2, dtype=torch.int64)


def drawn(seed: int, samples: int, classes: int) -> torch.Tensor:
    return 3 * torch.randn(samples, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(logits: torch.Tensor) -> np.ndarray:
    exponentials = np.exp(logits.numpy())
    return exponentials / exponentials.sum(1, keepdims=True)


@pytest.mark.parametrize("loss", [Annealed, FixMatch, MeanTeacher, Mixup])
def test_it_keeps_the_contract(loss: type) -> None:
    # With the default threshold no random prediction would count.
    check_loss(lambda: FixMatch(FixMatch.Config(threshold=0.3)) if loss is FixMatch else loss())


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 10**6), st.integers(2, 7), st.floats(0, 1))
def test_fixmatch(seed: int, classes: int, threshold: float) -> None:
    weak, strong = drawn(seed, 5, classes), drawn(seed + 1, 5, classes)
    found = FixMatch(FixMatch.Config(threshold=threshold))(LossInputs({"weak": weak, "strong": strong}, LABELS, 0, 1))
    p, q = softmax(weak), softmax(strong)
    expected = [-math.log(q[i, p[i].argmax()]) if p[i].max() >= threshold else 0.0 for i in range(5)]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_fixmatch_teaches_the_strong_view_alone() -> None:
    weak, strong = drawn(0, 4, 3).requires_grad_(), drawn(1, 4, 3).requires_grad_()
    FixMatch(FixMatch.Config(threshold=0.0))(
        LossInputs({"weak": weak, "strong": strong}, LABELS, 0, 1)
    ).sum().backward()
    assert weak.grad is None
    assert strong.grad is not None


@pytest.mark.parametrize(("step", "factor"), [(0, math.exp(-5 * 0.96**2)), (24, 1.0), (99, 1.0)])
def test_mean_teacher(step: int, factor: float) -> None:
    own, averaged = drawn(0, 4, 3).requires_grad_(), drawn(1, 4, 3).requires_grad_()
    found = MeanTeacher()(LossInputs({"strong": own, "weak_averaged": averaged}, LABELS, step, 100))
    expected = factor * ((softmax(own.detach()) - softmax(averaged.detach())) ** 2).mean(1)
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-9)
    found.sum().backward()
    assert averaged.grad is None


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.sampled_from([0.0, 0.1]))
def test_mixup_is_the_cross_entropy_with_the_mixed_label(seed: int, share: float, smoothing: float) -> None:
    logits, labels, partner = drawn(seed, 4, 3), torch.tensor([0, 1, 2, 1]), torch.tensor([2, 0, 3, 1])
    mix = Mix(partner, torch.tensor(share, dtype=torch.float64))
    found = Mixup(Mixup.Config(smoothing=smoothing))(LossInputs({"labeled_mixed": logits}, labels, 0, 1, None, mix))
    rows = (1 - smoothing) * np.eye(3)[labels] + smoothing / 3
    target = share * rows + (1 - share) * rows[partner]
    np.testing.assert_allclose(found, -(target * np.log(softmax(logits))).sum(1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("curve", ["linear", "log", "exp"])
def test_the_ceiling_rises_from_chance_to_certainty(curve: str) -> None:
    levels = [ceiling(curve, t / 10, 4) for t in range(11)]  # type: ignore[arg-type]
    assert levels == sorted(levels)
    assert levels[0] == pytest.approx(0.25, abs=0.006)
    assert levels[-1] == pytest.approx(1.0, abs=0.006)
    early = {"log": True, "exp": False, "linear": None}[curve]
    if early is not None:
        assert (levels[5] > ceiling("linear", 0.5, 4)) == early


def test_annealing_leaves_out_what_is_already_known() -> None:
    logits = torch.tensor([[4.0, 0.0], [0.2, 0.0], [0.0, 1.0], [0.0, 3.0]], dtype=torch.float64)
    labels = torch.zeros(4, dtype=torch.int64)
    inputs = LossInputs({"labeled": logits}, labels, 4, 10)
    found = Annealed()(inputs)  # ceiling 0.5 * 0.5 + 0.5 = 0.75
    truth = softmax(logits)[:, 0]
    counts = truth <= 0.75
    assert counts.tolist() == [False, True, True, True]
    np.testing.assert_allclose(found, np.where(counts, -np.log(truth), 0), rtol=1e-9)
    assert Annealed().used(inputs).tolist() == counts.tolist()
    mean, _ = (whole := Objective.of([Annealed()]))(inputs, whole.totals([whole.counted(inputs)], Single()))
    assert mean.item() == pytest.approx(-np.log(truth[counts]).mean())


def test_when_everything_is_known_nothing_is_learned() -> None:
    logits = torch.tensor([[9.0, 0.0]], dtype=torch.float64)
    assert Annealed()(LossInputs({"labeled": logits}, torch.zeros(1, dtype=torch.int64), 0, 10)).tolist() == [0.0]
