"""Tiny teachers and students in float64, on inputs that make every pseudo label matter."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mplframe.contracts.batch import Batch, Samples, Tensors
from mplframe.contracts.feedback import Derivative, StudentStep
from mplframe.training.labeling import Labeling
from mplframe.training.learner import Learner
from mplframe.training.student import NetworkStudent
from mplframe.training.teacher import NetworkTeacher

CLASSES, UNLABELED, LABELED = 3, 3, 6
Optimizer = Callable[[Any], torch.optim.Optimizer]


def network(width: int, seed: int) -> nn.Module:
    """[N, 1, 2, 2] -> [N, 3], smooth."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Sequential(nn.Flatten(), nn.Linear(4, width), nn.Tanh(), nn.Linear(width, CLASSES))
    return layers.double()


def batch(seed: int = 0) -> Batch:
    """Float64 inputs; the weak view is the strong one."""
    random = torch.Generator().manual_seed(seed)
    unlabeled = torch.randn((UNLABELED, 1, 2, 2), generator=random, dtype=torch.float64)
    labeled = torch.randn((LABELED, 1, 2, 2), generator=random, dtype=torch.float64)
    labels = torch.randint(CLASSES, (LABELED,), generator=random)
    return Batch(Samples(labeled, labeled, labels), Samples(unlabeled, unlabeled))


def sgd(lr: float, **settings: Any) -> Optimizer:
    return lambda parameters: torch.optim.SGD(parameters, lr=lr, **settings)


def student(optimizer: Optimizer, *, smoothing: float = 0.0) -> NetworkStudent:
    module = network(7, seed=1)
    return NetworkStudent(Learner(module, optimizer(module.parameters())), label_smoothing=smoothing)


def teacher(*, temperature: float = 1.0, lr: float = 1.0) -> NetworkTeacher:
    """A teacher without losses of its own: with learning rate 1 its step is minus its gradient from the feedback."""
    module = network(5, seed=2)
    learner = Learner(module, torch.optim.SGD(module.parameters(), lr=lr))
    return NetworkTeacher(learner, labeling=Labeling(temperature=temperature))


def flat(tensors: Tensors | list[Tensor]) -> Tensor:
    return torch.cat([t.detach().reshape(-1) for t in tensors])


@dataclass
class GivenStep(StudentStep):
    """A step whose vectors are given: `slopes` is [N, C] dR/dq, `losses` those before and after."""

    gradient: Tensors = ()
    moved: Tensors = ()
    count: int = 1
    slopes: Tensor = field(default_factory=lambda: torch.zeros(1, CLASSES))
    given: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.int64))
    losses: tuple[float, float] = (0.0, 0.0)

    @property
    def samples(self) -> int:
        return self.count

    @property
    def labels(self) -> Tensor:
        return self.given

    @property
    def label_part(self) -> Tensors:
        return self.moved

    def labeled_gradient(self) -> Tensors:
        return self.gradient

    def pullback(self, vector: Tensors) -> Tensors:
        return vector

    def sensitivity(self, direction: Tensors, *, derivative: Derivative = "forward") -> Tensor:
        return self.slopes

    @property
    def labeled_loss_before(self) -> Tensor:
        return torch.tensor(self.losses[0])

    def labeled_loss(self) -> Tensor:
        return torch.tensor(self.losses[1])

    def inner(self, a: Tensors, b: Tensors) -> Tensor:
        return torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()

    def mean(self, values: Tensor) -> Tensor:
        return values.mean()
