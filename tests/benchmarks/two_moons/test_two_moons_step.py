"""The stacked step of `benchmarks/two_moons` is the framework's own step, network by network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from benchmarks.two_moons.networks import PARAMETERS, along, backward, forward, uniform
from benchmarks.two_moons.points import Labeled, draw
from benchmarks.two_moons.settings import Setting
from benchmarks.two_moons.step import Pair, Rates, Unlabeled, train_step
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.batch import Batch, Samples
from mplframe.contracts.feedback import FeedbackEstimator
from mplframe.feedback.baseline import Baseline
from mplframe.feedback.cosine import Cosine
from mplframe.feedback.dot import Dot
from mplframe.feedback.exact import Exact
from mplframe.feedback.off import Off
from mplframe.feedback.per_example import PerExample
from mplframe.feedback.taylor import Taylor
from mplframe.losses.supervised import Supervised
from mplframe.losses.uda import UDA
from mplframe.methods.mpl import MPLStage
from mplframe.models.mlp import MLP
from mplframe.randomness import gumbel
from mplframe.training.labeling import Labeling
from mplframe.training.learner import Learner
from mplframe.training.student import NetworkStudent
from mplframe.training.teacher import NetworkTeacher

SEEDS, STEPS, BATCH, SEED = 3, 4, 7, 5
SETTING = Setting(
    weight=20.0, uda=0.7, uda_temperature=0.8, supervised=0.6, temperature=0.9, lr=0.4, teacher_lr=0.3, batch=BATCH
)
CASES: dict[str, tuple[Setting, FeedbackEstimator]] = {
    "off": (SETTING, Off()),
    "dot": (replace(SETTING, estimator="dot"), Dot()),
    "cosine": (replace(SETTING, estimator="cosine"), Cosine()),
    "taylor": (replace(SETTING, estimator="taylor"), Taylor()),
    "per_example": (replace(SETTING, estimator="per_example"), PerExample()),
    "exact": (replace(SETTING, estimator="exact"), Exact()),
    "exact, soft labels": (replace(SETTING, estimator="exact", labels="soft"), Exact()),
    "exact, strong view": (replace(SETTING, estimator="exact", view="strong"), Exact()),
    "cosine, argmax": (replace(SETTING, estimator="cosine", labels="argmax"), Cosine()),
    "baseline of cosine": (
        replace(SETTING, estimator="cosine", baseline=0.6),
        Baseline(Baseline.Config(decay=0.6), inner=Cosine()),
    ),
    "baseline of per_example": (
        replace(SETTING, estimator="per_example", baseline=0.6),
        Baseline(Baseline.Config(decay=0.6), inner=PerExample()),
    ),
}


@pytest.fixture(autouse=True)
def _double() -> object:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def network(theta: Tensor) -> nn.Module:
    """One row as the framework's MLP over images of one pixel with two channels."""
    built = MLP(MLP.Config(hidden=(8, 8), activation="sigmoid")).build(ImageSpec(1, 2, 2))
    nn.utils.vector_to_parameters(theta.clone(), built.parameters())
    return built


def learner(theta: Tensor, lr: float) -> Learner:
    module = network(theta)
    return Learner(module, torch.optim.SGD(module.parameters(), lr=lr), steps=STEPS)


def images(points: Tensor) -> Tensor:
    return points.T[:, :, None, None]


def stacked(setting: Setting, pair: Pair, fed: list[Unlabeled], labeled: Labeled) -> Pair:
    def column(value: float) -> Tensor:
        return torch.full((SEEDS, 1), value)

    assert setting.teacher_lr is not None
    rates = Rates(
        student=column(setting.lr),
        teacher=column(setting.teacher_lr),
        feedback=column(setting.weight),
        baseline=column(setting.baseline),
        supervised=column(setting.supervised),
        uda=column(setting.uda),
        uda_temperature=column(setting.uda_temperature),
        temperature=column(setting.temperature),
    )
    for unlabeled in fed:
        pair = train_step(pair, unlabeled, labeled, labeled, setting, rates)
    return pair


def framework(
    setting: Setting, estimator: FeedbackEstimator, pair: Pair, fed: list[Unlabeled], labeled: Labeled, row: int
) -> tuple[Tensor, Tensor]:
    labeling = Labeling(
        kind=setting.labels, temperature=setting.temperature, teacher_view=setting.view, student_view=setting.view
    )
    losses = [
        Supervised(Supervised.Config(weight=setting.supervised)),
        UDA(UDA.Config(weight=setting.uda, temperature=setting.uda_temperature)),
    ]
    assert setting.teacher_lr is not None
    teacher = NetworkTeacher(
        learner(pair.teacher[row], setting.teacher_lr),
        losses,
        labeling=labeling,
        feedback_weight=setting.weight,
        seed=SEED,
    )
    student = NetworkStudent(learner(pair.student[row], setting.lr), labeling=labeling)
    stage = MPLStage(teacher, student, estimator)
    for step, unlabeled in enumerate(fed):
        assert unlabeled.strong is not None
        samples = Samples(images(unlabeled.weak[row]), images(unlabeled.strong[row]))
        batch = Batch(Samples(images(labeled.x[row]), None, labeled.y[row].long()), samples)
        stage.step([batch], step)
    return tuple(nn.utils.parameters_to_vector(n.module.parameters()).detach() for n in (teacher, student))


@pytest.mark.parametrize("name", CASES)
def test_a_step_is_the_frameworks(name: str) -> None:
    setting, estimator = CASES[name]
    random = torch.Generator().manual_seed(1)
    points = draw(range(SEEDS)).labeled
    labeled = Labeled(points.x.double(), points.y.double())
    start = Pair(uniform(SEEDS, torch.tensor(2.0), random), uniform(SEEDS, torch.tensor(2.0), random))
    fed = []
    for step in range(STEPS):
        # What the framework draws: the difference of two standard Gumbel numbers is logistic.
        noise = gumbel((BATCH, 2), SEED, "labels", step, 0, 0).double()
        weak, strong = torch.randn((2, SEEDS, 2, BATCH), generator=random)
        fed.append(Unlabeled(weak, strong, (noise[:, 1] - noise[:, 0]).expand(SEEDS, -1)))
    ends = stacked(setting, start, fed, labeled)
    for row in range(SEEDS):
        estimator.load_state_dict({"average": torch.tensor(torch.nan), "inner": {}})
        teacher, student = framework(setting, estimator, start, fed, labeled, row)
        for end, expected, begin in (
            (ends.teacher[row], teacher, start.teacher[row]),
            (ends.student[row], student, start.student[row]),
        ):
            assert (end - expected).norm() < 1e-6 * (expected - begin).norm()


def test_networks_are_the_frameworks() -> None:
    random = torch.Generator().manual_seed(2)
    theta, direction = torch.randn((2, SEEDS, PARAMETERS), generator=random)
    x, error = torch.randn((SEEDS, 2, BATCH), generator=random), torch.randn((SEEDS, BATCH), generator=random)
    done = forward(theta, x)
    gradient, slopes = backward(theta, done, error), along(theta, done, direction)
    for row in range(SEEDS):
        module = network(theta[row])
        logits = module(images(x[row]))
        margin = logits[:, 1] - logits[:, 0]
        torch.testing.assert_close(done.margin[row], margin)
        (margin * error[row]).sum().backward()
        expected = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
        torch.testing.assert_close(gradient[row], expected)
    _, expected_slopes = torch.func.jvp(lambda t: forward(t, x).margin, (theta,), (direction,))
    torch.testing.assert_close(slopes, expected_slopes)
