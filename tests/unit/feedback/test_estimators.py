import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from feedback_support import GivenStep, batch, flat, sgd, student, teacher
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mplframe.contracts.batch import Batch, Samples, Tensors
from mplframe.contracts.feedback import FeedbackEstimator, PseudoLabels
from mplframe.feedback.baseline import Baseline
from mplframe.feedback.cosine import Cosine
from mplframe.feedback.dot import Dot
from mplframe.feedback.off import Off
from mplframe.losses.supervised import Supervised
from mplframe.methods.mpl import MPLStage
from mplframe.training.teacher import NetworkTeacher

vectors = st.lists(st.floats(-3, 3).filter(lambda x: abs(x) > 1e-3), min_size=6, max_size=6)


def pair(values: list[float], scale: float = 1.0) -> Tensors:
    """Two parameters."""
    tensor = scale * torch.tensor(values, dtype=torch.float64)
    return tensor[:4].reshape(2, 2), tensor[4:]


def h(estimator: FeedbackEstimator, gradient: Tensors, moved: Tensors) -> float:
    found = estimator.estimate(GivenStep(gradient, moved))
    assert found is not None
    return found.h.item()


def labels(values: list[int]) -> list[PseudoLabels]:
    chosen = torch.tensor(values)
    return [PseudoLabels(chosen, F.one_hot(chosen, 3).double())]


def labeled_loss(module: torch.nn.Module, samples: Samples) -> Tensor:
    assert samples.labels is not None
    return F.cross_entropy(module(samples.weak), samples.labels)


def test_dot_is_equation_12_for_sgd() -> None:
    """h = eta <grad at theta' of the labeled loss, grad at theta of the student's loss> (MPL v4, eq. 12)."""
    eta, given, y = 0.2, batch(), [0, 2, 1]
    learning, reference = student(sgd(eta)), student(sgd(eta)).module
    parameters = list(reference.parameters())
    assert given.unlabeled is not None
    g = torch.autograd.grad(F.cross_entropy(reference(given.unlabeled.weak), torch.tensor(y)), parameters)
    with torch.no_grad():
        for p, slope in zip(parameters, g, strict=True):
            p -= eta * slope
    v = torch.autograd.grad(labeled_loss(reference, given.labeled), parameters)

    step, _ = learning.learn([given], labels(y), 0, requires=Dot().requires)
    feedback = Dot().estimate(step)
    assert feedback.reduction == "sum"
    assert feedback.h.item() == pytest.approx(eta * (flat(v) @ flat(g)).item(), rel=1e-12)
    found = Cosine().estimate(step)
    assert found.reduction == "mean"
    assert found.h.item() == pytest.approx(F.cosine_similarity(flat(v), flat(g), dim=0).item(), rel=1e-12)


@pytest.mark.parametrize(
    "settings", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 0.1}]
)
def test_dot_is_the_fall_of_the_labeled_loss_that_the_labels_brought(settings: dict[str, Any]) -> None:
    """To first order: against the step that the optimizer would have made without a gradient."""
    given, eta = batch(), 1e-4
    for y in ([0, 2, 1], [1, 1, 1], [2, 0, 0]):
        learning, still = (student(sgd(eta, **settings)) for _ in range(2))
        for one in (learning, still):
            one.learn([batch(7)], labels([0, 1, 2]), 0, requires=frozenset())
        step, _ = learning.learn([given], labels(y), 1, requires=Dot().requires)
        still.learner.apply(tuple(torch.zeros_like(p) for p in still.learner.parameters))
        fall = labeled_loss(still.module, given.labeled) - labeled_loss(learning.module, given.labeled)
        assert Dot().estimate(step).h.item() == pytest.approx(fall.item(), rel=1e-2)


@pytest.mark.parametrize("estimator", [Dot(), Cosine()])
def test_a_label_that_helped_has_a_positive_h_and_becomes_more_likely(estimator: FeedbackEstimator) -> None:
    images = batch().labeled.weak[:3]
    truth = torch.tensor([0, 1, 2])
    same = Batch(Samples(images, images, truth), Samples(images, images))
    for y, sign in (([0, 1, 2], 1), ([1, 2, 0], -1)):
        learning, teaching = student(sgd(0.01)), teacher(lr=1e-3)
        (pseudo,) = teaching.label([same], 0)
        pseudo = PseudoLabels(torch.tensor(y), pseudo.probabilities, pseudo.forward)
        before = pseudo.probabilities[range(3), y].log().sum()
        step, _ = learning.learn([same], [pseudo], 0, requires=estimator.requires)
        feedback = estimator.estimate(step)
        assert feedback is not None
        assert sign * feedback.h.item() > 0
        teaching.learn([same], [pseudo], feedback, 0)
        after = teaching.module(images).log_softmax(-1)[range(3), y].sum()
        assert sign * (after - before).item() > 0


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(vectors, vectors, st.floats(1e-4, 1e4), st.floats(1e-4, 1e4))
def test_the_cosine_lies_in_its_range_and_knows_no_scale(a: list[float], b: list[float], x: float, y: float) -> None:
    value = h(Cosine(), pair(a), pair(b))
    expected = -sum(i * j for i, j in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)
    assert value == pytest.approx(expected, abs=1e-12)
    assert abs(value) <= 1 + 1e-12
    assert h(Cosine(), pair(a, x), pair(b, y)) == pytest.approx(value, abs=1e-9)
    assert h(Cosine(), pair(a, x), pair(b, -y)) == pytest.approx(-value, abs=1e-9)


def test_the_cosine_of_parallel_vectors_is_one() -> None:
    up = pair([1, 2, 3, 4, 5, 6])
    assert h(Cosine(), up, pair([-1, -2, -3, -4, -5, -6])) == pytest.approx(1.0)
    assert h(Cosine(), up, up) == pytest.approx(-1.0)


@pytest.mark.parametrize(("gradient", "moved"), [(1e-7, 1e-11), (1e6, 1e14)])
def test_the_cosine_in_single_precision_knows_no_scale_either(gradient: float, moved: float) -> None:
    """Such as near the end of a cosine schedule, with a student that fits its labels well."""
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    v, d = (tuple(t.float() for t in pair(values, scale)) for scale in (gradient, -moved))
    assert h(Cosine(), v, d) == pytest.approx(1.0, rel=1e-5)


def test_a_vector_of_zeros_gives_no_feedback_rather_than_nan() -> None:
    zero, some = pair([0.0] * 6), pair([1.0] * 6)
    for estimator in (Cosine(), Dot()):
        for first, second in ((zero, some), (some, zero), (zero, zero)):
            assert h(estimator, first, second) == 0.0


def of_h(value: float) -> GivenStep:
    """A step of which `Dot` finds h = value."""
    return GivenStep((torch.tensor([value], dtype=torch.float64),), (torch.tensor([-1.0], dtype=torch.float64),))


def test_the_baseline_is_the_moving_average_of_the_past() -> None:
    decay, series = 0.75, [2.0, -1.0, 4.0, 0.5, 3.0]
    baseline = Baseline(Baseline.Config(decay=decay), inner=Dot())
    average = series[0]
    for value in series:
        found = baseline.estimate(of_h(value))
        assert found is not None
        assert found.reduction == "sum"
        assert found.h.item() == pytest.approx(value - average)
        average = decay * average + (1 - decay) * value


def test_a_constant_h_is_all_baseline() -> None:
    baseline = Baseline(inner=Dot())
    for _ in range(5):
        found = baseline.estimate(of_h(3.0))
        assert found is not None
        assert found.h.item() == pytest.approx(0.0, abs=1e-12)


def test_the_baseline_goes_on_where_it_was_saved() -> None:
    first, second = (Baseline(Baseline.Config(decay=0.5), inner=Baseline(inner=Dot())) for _ in range(2))
    for value in (2.0, -1.0, 4.0):
        first.estimate(of_h(value))
    second.load_state_dict(first.state_dict())
    for value in (5.0, 0.0):
        one, two = first.estimate(of_h(value)), second.estimate(of_h(value))
        assert one is not None
        assert two is not None
        assert one.h.item() == two.h.item() != 0.0


def test_a_fresh_baseline_can_be_saved_too() -> None:
    other = Baseline(inner=Dot())
    other.load_state_dict(Baseline(inner=Dot()).state_dict())
    found = other.estimate(of_h(2.0))
    assert found is not None
    assert found.h.item() == 0.0


def forwards_of_a_step(estimator: FeedbackEstimator) -> list[int]:
    """Batch sizes of the student's forwards in one step of MPL."""
    learning, sizes = student(sgd(0.1)), []
    learning.module.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    MPLStage(NetworkTeacher(teacher().learner, [Supervised()]), learning, estimator).step([batch()], 0)
    return sizes


def test_off_computes_nothing() -> None:
    assert forwards_of_a_step(Off()) == [3]
    assert forwards_of_a_step(Baseline(inner=Off())) == [3]


def test_feedback_costs_one_labeled_forward() -> None:
    assert forwards_of_a_step(Dot()) == [3, 6]
    assert forwards_of_a_step(Baseline(inner=Cosine())) == [3, 6]


def test_off_needs_no_displacement_and_gives_none() -> None:
    assert Off().requires == frozenset()
    assert Baseline(inner=Off()).requires == frozenset()
    step, _ = student(sgd(0.1)).learn([batch()], labels([0, 1, 2]), 0, requires=Off().requires)
    assert Off().estimate(step) is None
    assert step.metrics == {}
    with pytest.raises(AssertionError, match="without listing it as"):
        _ = step.label_part
