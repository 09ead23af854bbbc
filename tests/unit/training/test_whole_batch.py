"""A batch is the sum of its parts: losses, gradients and metrics don't depend on how it is cut. Frozen layers stay."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from learner_support import batch, equal, learner, normed, plain, snapshot, student, teacher

from mplframe.backends.single import Single
from mplframe.contracts.batch import Metrics
from mplframe.contracts.loss import AuxLoss
from mplframe.losses.annealed import Annealed
from mplframe.losses.fixmatch import FixMatch
from mplframe.losses.mean_teacher import MeanTeacher
from mplframe.losses.supervised import LabelSmoothing, Supervised
from mplframe.losses.uda import UDA
from mplframe.methods.classifier import ClassifierStage
from mplframe.training.learner import Average
from mplframe.training.objective import Objective
from mplframe.training.student import NetworkStudent
from mplframe.training.teacher import NetworkTeacher

LOSSES: dict[str, Sequence[AuxLoss]] = {
    "annealed": [Annealed()],
    "annealed beside UDA with a threshold": [Annealed(), UDA(UDA.Config(threshold=0.3))],
    "FixMatch": [Supervised(), FixMatch(FixMatch.Config(threshold=0.3))],
    "mean teacher": [LabelSmoothing(), MeanTeacher()],
}


def values(metrics: Metrics) -> dict[str, list[float]]:
    return {name: value.reshape(-1).tolist() for name, value in metrics.items()}


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("name", LOSSES)
def test_a_classifiers_step_is_that_of_the_whole_batch(name: str, parts: int) -> None:
    found = []
    for count in (1, parts):
        one = learner(plain(1), ema=0.9, steps=5)
        stage = ClassifierStage("student", one, Objective.of(LOSSES[name]))
        metrics = values(stage.step(batch().split(count), 2))
        found.append((metrics, snapshot(one.module)))
    (whole, weights), (cut, others) = found
    assert whole.keys() == cut.keys()
    for key, value in whole.items():
        assert cut[key] == pytest.approx(value, rel=1e-6), key
    for key, weight in weights.items():
        torch.testing.assert_close(others[key], weight, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("parts", [2, 4])
def test_a_teachers_step_is_that_of_the_whole_batch(parts: int) -> None:
    found = []
    fed = batch()
    assert fed.unlabeled is not None
    known = torch.full((16,), -1)
    known[[0, 1, 5, 6]] = 1  # a micro-batch of four has none
    told = type(fed)(fed.labeled, type(fed.unlabeled)(fed.unlabeled.weak, fed.unlabeled.strong, known))
    for count in (1, parts):
        one = NetworkTeacher(learner(plain(1), steps=5), LOSSES["annealed beside UDA with a threshold"])
        cut = told.split(count)
        metrics = values(one.learn(cut, one.label(cut, 2), None, 2))
        found.append((metrics, snapshot(one.module)))
    (whole, weights), (cut_up, others) = found
    (right,), (of,) = whole["label_agreement"], whole["label_agreement_of"]
    assert of == pytest.approx(4 / 16)
    assert right <= of
    # Labels are drawn micro-batch by micro-batch, so which are right differs; how many are known doesn't.
    assert cut_up["label_agreement_of"] == pytest.approx([of])
    for key in whole.keys() - {"label_agreement"}:
        assert cut_up[key] == pytest.approx(whole[key], rel=1e-6), key
    for key, weight in weights.items():
        torch.testing.assert_close(others[key], weight, rtol=1e-7, atol=1e-9)


def test_thresholded_terms_say_what_they_use() -> None:
    stage = ClassifierStage(
        "student", learner(plain(1), steps=5), Objective.of([FixMatch(FixMatch.Config(threshold=1))])
    )
    metrics = stage.step([batch()], 0)
    assert metrics["student/fixmatch_used"].item() == 0.0
    assert metrics["student/loss"].item() == 0.0
    assert "student/uda_used" not in stage.step([batch()], 1)


def freeze(module: Any) -> None:
    for layer in list(module)[:2]:
        layer.requires_grad_(False)


def frozen_norm(module: Any) -> dict[str, torch.Tensor]:
    return {name: value for name, value in snapshot(module).items() if name.startswith("1.running")}


@pytest.mark.parametrize("kind", ["teacher", "student", "classifier", "average"])
def test_the_statistics_of_frozen_layers_stay(kind: str) -> None:
    module = normed(1)
    freeze(module)
    before = frozen_norm(module)
    fed, labeler = [batch()], teacher(normed(2))
    if kind == "teacher":
        one: Any = teacher(module)
        one.learn(fed, one.label(fed, 0), None, 0)
    elif kind == "student":
        one = student(module)
        step, _ = one.learn(fed, labeler.label(fed, 0), 0, requires=frozenset({"old_weights"}))
        step.labeled_gradient()
    else:
        losses = [MeanTeacher()] if kind == "average" else [Supervised(), UDA()]
        one = ClassifierStage("student", learner(module, ema=0.5), Objective.of(losses))
        one.step(fed, 0)
        assert equal(frozen_norm(one.learner.ema.module), before)
    assert equal(frozen_norm(module), before)
    assert not equal(snapshot(module), snapshot(normed(1)))  # the rest has learned


def test_an_average_forgets_its_random_start() -> None:
    """After t updates at most prod (1 + i) / (10 + i) of it is left, as of TensorFlow's moving average."""
    start, end = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    left = {}
    for warmup in (True, False):
        average = Average(start, decay=0.99, warmup=warmup)
        for _ in range(60):
            average.update(end)
        kept = (average.module.weight - end.weight) / (start.weight - end.weight)
        left[warmup] = float(kept.detach())
    product = torch.tensor([(1 + i) / (10 + i) for i in range(60)]).prod().item()
    assert left[True] == pytest.approx(product, abs=1e-6)
    assert left[False] == pytest.approx(0.99**60, abs=1e-5)


def test_the_warm_up_goes_on_where_it_was() -> None:
    whole, cut = (learner(plain(1), ema=0.999) for _ in range(2))
    for _ in range(4):
        whole.apply(tuple(torch.ones_like(p) for p in whole.parameters))
    for _ in range(2):
        cut.apply(tuple(torch.ones_like(p) for p in cut.parameters))
    resumed = learner(plain(2), ema=0.999)
    resumed.load_state_dict(cut.state_dict())
    for _ in range(2):
        resumed.apply(tuple(torch.ones_like(p) for p in resumed.parameters))
    assert equal(snapshot(resumed.evaluated("ema")), snapshot(whole.evaluated("ema")))


class TwoProcesses(Single):  # type: ignore[misc]
    """Stands for the first of two processes: the other's numbers are what this one's aren't."""

    world = 2

    def reduce(self, gradients: Any) -> Any:
        return tuple((g + 3.0 * g) / 2 for g in gradients)


def test_a_baseline_is_that_of_all_processes() -> None:
    from mplframe.feedback.baseline import Baseline
    from mplframe.feedback.per_example import PerExample

    baseline = Baseline(Baseline.Config(decay=0.5), inner=PerExample())
    one = NetworkStudent(learner(plain(1), backend=TwoProcesses(Single.Config(device="cpu"))))
    fed = [batch()]
    step, _ = one.learn(fed, teacher(plain(2)).label(fed, 0), 0, requires=baseline.requires)
    own = PerExample().estimate(step).h
    baseline.estimate(step)
    assert float(baseline.state_dict()["average"]) == pytest.approx(2 * float(own.mean()))
