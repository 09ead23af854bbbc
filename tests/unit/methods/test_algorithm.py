"""MPL v4, algorithm 1, against a transcription in plain torch: other code, the same weights."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mplframe.contracts.batch import Batch, Samples
from mplframe.contracts.feedback import FeedbackEstimator
from mplframe.feedback.baseline import Baseline
from mplframe.feedback.cosine import Cosine
from mplframe.feedback.dot import Dot
from mplframe.feedback.off import Off
from mplframe.losses.supervised import LabelSmoothing
from mplframe.losses.uda import UDA
from mplframe.methods.mpl import MPLStage
from mplframe.training.labeling import Labeling
from mplframe.training.learner import Learner
from mplframe.training.student import NetworkStudent
from mplframe.training.teacher import NetworkTeacher

CLASSES, STEPS, RATE, MOMENTUM, DECAY = 4, 5, 0.1, 0.9, 0.01


def network(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = (nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Tanh(), nn.Flatten(), nn.Linear(24, CLASSES))
        return nn.Sequential(*layers).double().train()


def batch(seed: int) -> Batch:
    random = torch.Generator().manual_seed(seed)
    weak, strong, labeled = torch.randn((3, 12, 1, 4, 4), generator=random, dtype=torch.float64)
    return Batch(Samples(labeled, None, torch.randint(CLASSES, (12,), generator=random)), Samples(weak, strong))


class Momentum:
    """SGD with Nesterov momentum and weight decay, by hand."""

    def __init__(self, module: nn.Module) -> None:
        self.parameters = list(module.parameters())
        self.velocity = [torch.zeros_like(p) for p in self.parameters]

    def step(self, gradient: list[Tensor]) -> None:
        with torch.no_grad():
            for p, b, g in zip(self.parameters, self.velocity, gradient, strict=True):
                total = g + DECAY * p
                b.mul_(MOMENTUM).add_(total)
                p -= RATE * (total + MOMENTUM * b)


def measured_gradient(module: nn.Module, labeled: Samples) -> list[Tensor]:
    """The labeled gradient in training mode, with the running statistics put back."""
    kept = {name: value.clone() for name, value in module.named_buffers()}
    loss = F.cross_entropy(module(labeled.weak), labeled.labels)
    gradient = list(torch.autograd.grad(loss, list(module.parameters())))
    for name, value in module.named_buffers():
        value.copy_(kept[name])
    return gradient


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])


Coefficient = Callable[[Tensor, Tensor], Tensor]


def transcription(teacher: nn.Module, student: nn.Module, coefficient: Coefficient | None) -> list[float]:
    """Algorithm 1 with label smoothing and UDA; labels are the teacher's most likely. Returns each step's h."""
    own, others, series = Momentum(teacher), Momentum(student), []
    for seed in range(STEPS):
        fed = batch(seed)
        assert fed.unlabeled is not None
        assert fed.unlabeled.strong is not None
        labeled, weak, strong = teacher(torch.cat([fed.labeled.weak, fed.unlabeled.weak, fed.unlabeled.strong])).split(
            12
        )
        labels = strong.argmax(-1)
        g = list(torch.autograd.grad(F.cross_entropy(student(fed.unlabeled.strong), labels), others.parameters))
        others.step(g)
        loss = F.cross_entropy(labeled, fed.labeled.labels, label_smoothing=0.1)
        target = (weak.detach() / 0.8).softmax(-1)
        loss = loss - (target * strong.log_softmax(-1)).sum(-1).mean()
        if coefficient is not None:
            h = coefficient(flat(measured_gradient(student, fed.labeled)), flat(g))
            loss = loss + h * F.cross_entropy(strong, labels)
            series.append(h.item())
        own.step(list(torch.autograd.grad(loss, own.parameters)))
    return series


class Centred:
    """The cosine less its moving average."""

    def __init__(self, decay: float) -> None:
        self.decay, self.average = decay, None

    def __call__(self, v: Tensor, g: Tensor) -> Tensor:
        h = F.cosine_similarity(v, g, dim=0)
        average = h if self.average is None else self.average
        self.average = self.decay * average + (1 - self.decay) * h  # type: ignore[assignment]
        return h - average


# Nesterov moves the parameters by -lr (1 + momentum) g. `dot` sums over the 12 samples where the transcription takes
# their mean.
CASES: dict[str, tuple[Callable[[], FeedbackEstimator], Coefficient | None]] = {
    "cosine": (Cosine, lambda v, g: F.cosine_similarity(v, g, dim=0)),
    "baseline": (lambda: Baseline(Baseline.Config(decay=0.5), inner=Cosine()), Centred(0.5)),
    "dot": (Dot, lambda v, g: 12 * RATE * (1 + MOMENTUM) * (v @ g)),
    "off": (Off, None),
}


@pytest.mark.parametrize("name", CASES)
def test_the_stage_is_algorithm_1(name: str) -> None:
    estimator, coefficient = CASES[name]
    teacher, student = network(1), network(2)
    expected = transcription(teacher, student, coefficient)

    def learner(module: nn.Module) -> Learner:
        settings = {"lr": RATE, "momentum": MOMENTUM, "weight_decay": DECAY, "nesterov": True}
        return Learner(module, torch.optim.SGD(module.parameters(), **settings))  # type: ignore[arg-type]

    labeling, own, others = Labeling(kind="argmax"), network(1), network(2)
    stage = MPLStage(
        NetworkTeacher(learner(own), [LabelSmoothing(), UDA()], labeling=labeling),
        NetworkStudent(learner(others), labeling=labeling),
        estimator(),
    )
    found = [stage.step([batch(step)], step).get("feedback/h") for step in range(STEPS)]
    scale = 12 if name == "dot" else 1
    assert [scale * h.item() for h in found if h is not None] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    for mine, theirs in ((own, teacher), (others, student)):
        for key, value in theirs.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[key], value, rtol=1e-9, atol=1e-11)
