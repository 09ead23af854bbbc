import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from learner_support import CLASSES, batch, equal, normed, samples, snapshot
from torch import Tensor, nn

from mplframe.backends.single import Single
from mplframe.contracts.batch import Batch, Samples
from mplframe.contracts.feedback import Feedback
from mplframe.losses.supervised import confident, cross_entropy
from mplframe.training.labeling import Labeling
from mplframe.training.teacher import FrozenTeacher, targets

ARGMAX = Labeling(kind="argmax", teacher_view="weak")


def frozen(module: nn.Module | None = None, *, labeling: Labeling = ARGMAX, **settings: float) -> FrozenTeacher:
    backend = Single(Single.Config(device="cpu"))
    return FrozenTeacher(module or normed(1), backend=backend, labeling=labeling, **settings)  # type: ignore[arg-type]


def judged(fed: Batch, view: str = "weak") -> Tensor:
    """[N, C] logits of the same network in evaluation mode."""
    assert fed.unlabeled is not None
    return normed(1).eval()(fed.unlabeled.view(view)).detach()  # type: ignore[no-any-return]


def test_confidence_is_the_probability_of_the_likeliest_class_and_may_equal_the_threshold() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.8, 0.1, 0.1], [0.4, 0.3, 0.3]]).log()
    assert confident(logits, 0.45).tolist() == [True, True, False]
    assert confident(torch.zeros(1, 4), 0.25).tolist() == [True]
    assert confident(logits, 0.0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_sample_that_does_not_count_costs_nothing_and_teaches_nothing(smoothing: float) -> None:
    labels, counts = torch.tensor([2, 0, 1]), torch.tensor([True, False, True])
    logits = torch.randn(3, CLASSES, dtype=torch.float64, requires_grad=True)
    found = cross_entropy(logits, targets(labels, counts, classes=CLASSES, smoothing=smoothing).double())
    expected = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing) * counts
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    assert slope[1].eq(0).all()
    assert slope[0].ne(0).all()


def test_soft_labels_stay_distributions() -> None:
    soft = torch.rand(5, CLASSES).softmax(-1)
    counts = torch.tensor([True, True, False, True, True])
    found = targets(soft, counts, classes=CLASSES, smoothing=0.2)
    torch.testing.assert_close(found.sum(-1), counts.float())
    torch.testing.assert_close(found[0], 0.8 * soft[0] + 0.2 / CLASSES)


@pytest.mark.parametrize("view", ["weak", "strong"])
def test_it_labels_its_view_in_evaluation_mode(view: str) -> None:
    module, fed = normed(1, dropout=0.5).train(), batch()
    before = snapshot(module)
    teacher = frozen(module, labeling=Labeling(kind="argmax", teacher_view=view))  # type: ignore[arg-type]
    module.train()  # as whoever judges it may leave it
    (labels,) = teacher.label([fed], 0)
    expected = judged(fed, view)
    assert torch.equal(labels.labels, F.one_hot(expected.argmax(-1), CLASSES).double())
    torch.testing.assert_close(labels.probabilities, expected.softmax(-1))
    assert not labels.labels.requires_grad
    assert equal(before, snapshot(module))


def test_the_threshold_is_held_against_the_confidence_at_temperature_1() -> None:
    fed = batch()
    confidence = judged(fed).softmax(-1).amax(-1)
    threshold = float(confidence.median())
    for temperature in (1.0, 0.1):
        labeling = Labeling(kind="soft", temperature=temperature, teacher_view="weak")
        (labels,) = frozen(labeling=labeling, threshold=threshold).label([fed], 0)
        assert torch.equal(labels.labels.sum(-1) > 0, confidence >= threshold)
        torch.testing.assert_close(labels.probabilities, (judged(fed) / temperature).softmax(-1))


def test_sampled_labels_are_drawn_anew_in_each_step_and_repeat_with_it() -> None:
    def drawn(step: int) -> list[int]:
        (labels,) = frozen(labeling=Labeling(kind="sampled")).label([batch()], step)
        return labels.labels.argmax(-1).tolist()  # type: ignore[no-any-return]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_it_learns_nothing_whatever_it_is_told() -> None:
    teacher = frozen()
    before = snapshot(teacher.module)
    labels = teacher.label([batch()], 0)
    teacher.learn([batch()], labels, Feedback(torch.tensor(9.0), "sum"), 0)
    assert equal(before, snapshot(teacher.module))
    assert not any(p.requires_grad for p in teacher.module.parameters())
    assert teacher.state_dict() == {}
    assert teacher.evaluated("ema") is teacher.evaluated("raw")


TRUTHS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "right where it counts": (lambda found: found, 1.0),
    "wrong everywhere": (lambda found: (found + 1) % CLASSES, 0.0),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_agreement_is_that_of_the_labels_that_count(name: str) -> None:
    truth, expected = TRUTHS[name]
    fed = batch()
    logits = judged(fed)
    counts = confident(logits, threshold := float(logits.softmax(-1).amax(-1).median()))
    found = logits.argmax(-1)
    wrong_elsewhere = torch.where(counts, truth(found), (found + 1) % CLASSES)
    assert fed.unlabeled is not None
    told = Batch(fed.labeled, Samples(fed.unlabeled.weak, fed.unlabeled.strong, wrong_elsewhere))
    teacher = frozen(threshold=threshold)
    metrics = teacher.learn([told], teacher.label([told], 0), None, 0)
    right, known = float(metrics["label_agreement"]), float(metrics["label_agreement_of"])
    assert (right / known if known else math.nan) == expected
    assert float(metrics["label_share"]) == pytest.approx(float(counts.double().mean()))
    assert {"label_agreement", "label_agreement_of"} == metrics.keys() - teacher.learn(
        [fed], teacher.label([fed], 0), None, 0
    ).keys()


def test_micro_batches_are_labeled_one_by_one() -> None:
    whole = Batch(samples(8, 1), samples(16, 2))
    (together,) = frozen().label([whole], 0)
    parts = frozen().label(whole.split(4), 0)
    assert torch.equal(torch.cat([part.labels for part in parts]), together.labels)
