import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from learner_support import CLASSES, batch, equal, farthest, learner, normed, plain, snapshot, student, teacher
from torch import Tensor, nn

from mplframe.contracts.batch import Batch
from mplframe.contracts.feedback import Feedback, FeedbackEstimator
from mplframe.errors import UserError
from mplframe.feedback.cosine import Cosine
from mplframe.feedback.dot import Dot
from mplframe.feedback.off import Off
from mplframe.losses.supervised import Supervised
from mplframe.losses.uda import UDA
from mplframe.methods.mpl import MPLStage
from mplframe.training.labeling import Labeling
from mplframe.training.learner import Learner
from mplframe.training.objective import Objective
from mplframe.training.teacher import NetworkTeacher, feedback_loss

ARGMAX = Labeling(kind="argmax")


def test_the_feedback_loss_is_the_weighted_cross_entropy() -> None:
    logits, labels = torch.randn(5, CLASSES, dtype=torch.float64), torch.tensor([0, 3, 1, 1, 2])
    h = torch.randn(5, dtype=torch.float64)
    ce = -logits.log_softmax(-1)[range(5), labels]
    torch.testing.assert_close(feedback_loss(logits, labels, h, share=1.0), (h * ce).sum())
    torch.testing.assert_close(feedback_loss(logits, labels, h[0], share=0.2), h[0] * ce.mean())


def test_h_is_a_number_not_a_path_for_gradients() -> None:
    h = torch.tensor(2.0, requires_grad=True)
    logits = torch.randn(3, CLASSES, requires_grad=True)
    feedback_loss(logits, torch.tensor([0, 1, 2]), h, share=1.0).backward()
    assert h.grad is None
    assert logits.grad is not None


def reference_step(module: nn.Module, labels: Tensor, h: Tensor, *, temperature: float, reduction: str) -> None:
    """The teacher's step, transcribed: supervised, UDA at temperature 0.8, and the feedback to the strong view."""
    one, fed = learner(module), batch()
    assert fed.unlabeled is not None
    images = torch.cat([fed.labeled.weak, fed.unlabeled.weak, fed.unlabeled.strong])
    labeled, weak, strong = module.train()(images).split([8, 16, 16])
    target = (weak.detach() / 0.8).softmax(-1)
    loss = F.cross_entropy(labeled, fed.labeled.labels) - (target * strong.log_softmax(-1)).sum(-1).mean()
    taught = h * F.cross_entropy(strong / temperature, labels, reduction="none")
    loss = loss + (taught.sum() if reduction == "sum" else taught.mean())
    loss.backward()
    one.apply(one.take_gradient())


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_a_step_on_feedback_and_losses(reduction: str, per_sample: bool, temperature: float) -> None:
    teaching = teacher(normed(1), labeling=Labeling(temperature=temperature))
    h = torch.linspace(-1, 1, 16, dtype=torch.float64) if per_sample else torch.tensor(0.7, dtype=torch.float64)
    (labels,) = teaching.label([batch()], 0)
    teaching.learn([batch()], [labels], Feedback(h, reduction), 0)  # type: ignore[arg-type]
    module = normed(1)
    reference_step(module, labels.labels, h, temperature=temperature, reduction=reduction)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(teaching.module.state_dict()[name], value, rtol=1e-10, atol=1e-12)


def test_the_label_in_the_loss_is_the_very_label_that_the_student_learned() -> None:
    """Not another draw, nor the most likely class: other labels for the student make another teacher."""
    teaching = teacher(plain(1))
    (labels,) = teaching.label([batch()], 0)
    other = (labels.labels + 1) % CLASSES
    teaching.learn([batch()], [replace(labels, labels=other)], Feedback(torch.tensor(0.7).double(), "sum"), 0)
    module = plain(1)
    reference_step(module, other, torch.tensor(0.7).double(), temperature=1.0, reduction="sum")
    assert farthest(teaching.learner.parameters, list(module.parameters())) < 1e-12


def test_the_feedback_weight_scales_the_feedback() -> None:
    def moved(weight: float, h: float) -> list[Tensor]:
        teaching = NetworkTeacher(learner(plain(1)), [Supervised()], feedback_weight=weight)
        labels = teaching.label([batch()], 0)
        teaching.learn([batch()], labels, Feedback(torch.tensor(h).double(), "mean"), 0)
        return list(teaching.learner.parameters)

    assert farthest(moved(3.0, 0.5), moved(1.0, 1.5)) < 1e-14
    assert farthest(moved(3.0, 0.5), moved(1.0, 0.5)) > 1e-3


def test_sampled_labels_are_drawn_anew_in_each_step_and_repeat_with_it() -> None:
    def drawn(step: int, seed: int = 0) -> list[int]:
        (labels,) = teacher(plain(1), seed=seed).label([batch()], step)
        return labels.labels.tolist()  # type: ignore[no-any-return]

    assert drawn(0) == drawn(0)
    assert len({tuple(drawn(step, seed)) for step in range(3) for seed in range(2)}) == 6


def test_probabilities_are_those_that_labels_come_from() -> None:
    fed = batch()
    assert fed.unlabeled is not None
    for view in ("weak", "strong"):
        labeling = Labeling(temperature=0.5, teacher_view=view)  # type: ignore[arg-type]
        (labels,) = teacher(plain(1), labeling=labeling).label([fed], 0)
        expected = (plain(1)(fed.unlabeled.view(view)) / 0.5).softmax(-1).float()
        torch.testing.assert_close(labels.probabilities, expected)
        assert not labels.probabilities.requires_grad
        assert labels.labels.dtype == torch.int64


def test_labeling_draws_nothing_from_the_training_stream() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    teaching = teacher(normed(1, dropout=0.5))
    teaching.learn([batch()], teaching.label([batch()], 0), None, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_running_statistics_are_counted_once_a_step_however_it_is_cut() -> None:
    for parts in (1, 4):
        teaching = teacher(normed(1))
        batches = batch().split(parts)
        teaching.learn(batches, teaching.label(batches, 0), Feedback(torch.tensor(0.5).double(), "sum"), 0)
        assert teaching.module.state_dict()["1.num_batches_tracked"].item() == parts


def test_dropout_is_the_same_where_a_forward_is_repeated() -> None:
    """With micro-batches the forward that labels is repeated to learn."""
    teaching = teacher(normed(1, dropout=0.5))
    seen: list[Tensor] = []
    teaching.module.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    batches = batch().split(2)
    teaching.learn(batches, teaching.label(batches, 0), None, 0)
    first, second, again_first, again_second = seen
    assert torch.equal(first, again_first)
    assert torch.equal(second, again_second)
    assert not torch.equal(first, second)


def stage(make: Callable[..., nn.Module], estimator: FeedbackEstimator, labeling: Labeling) -> MPLStage:
    return MPLStage(teacher(make(1), labeling=labeling), student(make(2), labeling=labeling), estimator)


@pytest.mark.parametrize("estimator", [Dot, Cosine, Off])
def test_a_step_in_micro_batches_is_the_same_step(estimator: type[FeedbackEstimator]) -> None:
    whole, cut = (stage(plain, estimator(), ARGMAX) for _ in range(2))
    for step in range(3):
        one, two = whole.step([batch(step)], step), cut.step(batch(step).split(4), step)
        for name, value in one.items():
            torch.testing.assert_close(two[name].double(), value.double(), rtol=1e-6, atol=1e-9)
    for a, b in ((whole.teacher, cut.teacher), (whole.student, cut.student)):
        assert isinstance(a.evaluated("raw"), nn.Module)
        assert farthest(list(a.evaluated("raw").parameters()), list(b.evaluated("raw").parameters())) < 1e-12


def test_feedback_for_each_sample_reaches_it_in_its_micro_batch() -> None:
    h = torch.linspace(-1, 1, 16, dtype=torch.float64)
    ends = []
    for parts in (1, 4):
        teaching = teacher(plain(1), labeling=ARGMAX)
        batches = batch().split(parts)
        teaching.learn(batches, teaching.label(batches, 0), Feedback(h, "sum"), 0)
        ends.append(list(teaching.learner.parameters))
    assert farthest(*ends) < 1e-12


def test_a_teacher_with_nothing_to_learn_from_stays_as_it_is() -> None:
    """`feedback: off` and `losses: []`: what is left is pseudo labels of a frozen teacher."""
    module = plain(1)
    teaching = NetworkTeacher(Learner(module, torch.optim.SGD(module.parameters(), lr=0.1)), [])
    before = snapshot(module)
    teaching.learn([batch()], teaching.label([batch()], 0), None, 0)
    assert equal(snapshot(module), before)


def test_a_saved_stage_goes_on_as_if_nothing_had_happened() -> None:
    first, second = (stage(normed, Dot(), Labeling()) for _ in range(2))
    first.step([batch(0)], 0)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for one in (first, second):
        one.step([batch(1)], 1)
    for role in ("student", "teacher"):
        assert equal(snapshot(first.networks("raw")[role]), snapshot(second.networks("raw")[role]))


def test_losses_are_named_weighted_and_added() -> None:
    losses = [Supervised(Supervised.Config(weight=2.0)), Supervised(), UDA(UDA.Config(weight=0.5))]
    teaching = NetworkTeacher(learner(plain(1)), losses)
    metrics = teaching.learn([batch()], teaching.label([batch()], 0), None, 0)
    assert metrics["supervised"].item() == metrics["supervised_1"].item()
    total = 3.0 * metrics["supervised"] + 0.5 * metrics["uda"]
    assert metrics["loss"].item() == pytest.approx(total.item())


def test_a_view_that_is_not_there_is_said_so() -> None:
    fed = batch()
    assert fed.unlabeled is not None
    without_strong = Batch(fed.labeled, replace(fed.unlabeled, strong=None))
    with pytest.raises(UserError, match="strong view"):
        teacher(plain(1)).label([without_strong], 0)
    with pytest.raises(UserError, match="unlabeled samples"):
        teacher(plain(1)).label([Batch(fed.labeled)], 0)


def test_an_objective_without_losses_is_zero() -> None:
    assert Objective(()).views == frozenset()
