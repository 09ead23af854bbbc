"""What the proofs of the meta-gradient are made for: networks, optimizers with a past, batches, settings."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from feedback_support import flat
from timm.optim.lars import Lars
from timm.optim.rmsprop_tf import RMSpropTF
from torch import Tensor, nn
from torch.func import functional_call

from mplframe.contracts.batch import Batch, Samples
from mplframe.contracts.feedback import FeedbackEstimator
from mplframe.randomness import seeded
from mplframe.training.labeling import Labeling
from mplframe.training.learner import Learner
from mplframe.training.student import NetworkStudent
from mplframe.training.teacher import NetworkTeacher

STEP = 5
LINEAR = ("sgd", "momentum", "nesterov")
"""Optimizers whose displacement is linear in the gradient."""

OPTIMIZERS: dict[str, Callable[[Any, float], torch.optim.Optimizer]] = {
    "sgd": lambda p, lr: torch.optim.SGD(p, lr=lr),
    "momentum": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, weight_decay=0.01, nesterov=True),
    "rmsprop": lambda p, lr: RMSpropTF(p, lr=lr, alpha=0.9, momentum=0.9, eps=1e-3, weight_decay=0.01),
    "adam": lambda p, lr: torch.optim.Adam(p, lr=lr, weight_decay=0.01),
    "adamw": lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=0.01),
    "lars": lambda p, lr: Lars(p, lr=lr, momentum=0.9, weight_decay=0.01, trust_coeff=0.5),
}


@dataclass(frozen=True)
class Setting:
    """What the proof is made for."""

    network: str = "mlp"
    optimizer: str = "sgd"
    rate: float = 0.1
    kind: Literal["sampled", "soft"] = "soft"
    classes: int = 3
    unlabeled: int = 4
    labeled: int = 6
    temperature: float = 1.0
    smoothing: float = 0.0
    clip: float | None = None
    accumulate: int = 1
    seed: int = 0

    def module(self, width: int, seed: int) -> nn.Module:
        """[N, 1, 4, 4] -> [N, classes]."""
        with torch.random.fork_rng():
            torch.manual_seed(100 * self.seed + seed)
            return nn.Sequential(*getattr(self, f"_{self.network}")(width)).double()

    def _mlp(self, width: int) -> list[nn.Module]:
        return [nn.Flatten(), nn.Linear(16, width), nn.Tanh(), nn.Linear(width, self.classes)]

    def _dropout(self, width: int) -> list[nn.Module]:
        return [nn.Flatten(), nn.Linear(16, width), nn.SiLU(), nn.Dropout(0.4), nn.Linear(width, self.classes)]

    def _cnn(self, width: int) -> list[nn.Module]:
        # BatchNorm leaves biases before it no gradient at all, and where that is 0 autograd through Adam gives NaN.
        return [
            nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.SiLU(), nn.AvgPool2d(2),
            nn.Conv2d(width, width, 2, bias=False), nn.BatchNorm2d(width), nn.Tanh(), nn.Flatten(),
            nn.Linear(width, self.classes),
        ]  # fmt: skip

    def batch(self, seed: int) -> Batch:
        random = torch.Generator().manual_seed(1000 * self.seed + seed)
        unlabeled, strong, labeled = (
            torch.randn((n, 1, 4, 4), generator=random, dtype=torch.float64)
            for n in (self.unlabeled, self.unlabeled, self.labeled)
        )
        classes = torch.randint(self.classes, (self.labeled,), generator=random)
        return Batch(Samples(labeled, labeled, classes), Samples(unlabeled, strong))

    @property
    def labeling(self) -> Labeling:
        return Labeling(self.kind, self.temperature, teacher_view="weak", student_view="strong")

    def teacher(self) -> NetworkTeacher:
        """One whose step is minus its gradient from the feedback."""
        module = self.module(5, seed=2)
        return NetworkTeacher(Learner(module, torch.optim.SGD(module.parameters(), lr=1.0)), labeling=self.labeling)

    def student(self) -> NetworkStudent:
        """One whose optimizer has a past."""
        return copy.deepcopy(self._student())

    @cache  # noqa: B019  frozen, and few
    def _student(self) -> NetworkStudent:
        module = self.module(6, seed=1)
        optimizer = OPTIMIZERS[self.optimizer](module.parameters(), 0.1)
        learner = Learner(module, optimizer, clip=self.clip)
        made = NetworkStudent(learner, labeling=self.labeling, label_smoothing=self.smoothing)
        for step in range(2):
            parts = [self.batch(step)]
            made.learn(parts, self.teacher().label(parts, step), step, requires=frozenset())
        restarted = OPTIMIZERS[self.optimizer](module.parameters(), self.rate)
        restarted.load_state_dict({**optimizer.state_dict(), "param_groups": restarted.state_dict()["param_groups"]})
        return NetworkStudent(
            Learner(module, restarted, clip=self.clip), labeling=self.labeling, label_smoothing=self.smoothing
        )


def logits(net: nn.Module, weights: dict[str, Tensor], images: Tensor, purpose: str, part: int) -> Tensor:
    """With the dropout mask of that forward; what it leaves in running statistics is thrown away."""
    buffers = {name: b.clone() for name, b in net.named_buffers()}
    with seeded(0, purpose, STEP, part, 0):
        return functional_call(net, {**weights, **buffers}, (images,))


def leaves(module: nn.Module) -> dict[str, Tensor]:
    """Copies of the parameters to differentiate by."""
    return {name: p.detach().clone().requires_grad_() for name, p in module.train().named_parameters()}


def clipped(gradient: list[Tensor], clip: float | None) -> list[Tensor]:
    if clip is None:
        return gradient
    norm = torch.cat([slope.reshape(-1) for slope in gradient]).norm()
    return [slope * torch.clamp(clip / norm, max=1.0) for slope in gradient]


def labeled_loss(setting: Setting, module: nn.Module, weights: dict[str, Tensor]) -> Tensor:
    """R, over the micro-batches of a step."""
    losses = []
    for part, batch in enumerate(setting.batch(STEP).split(setting.accumulate)):
        assert batch.labeled.labels is not None
        found = logits(module, weights, batch.labeled.weak, "labeled", part)
        losses.append(F.cross_entropy(found, batch.labeled.labels))
    return torch.stack(losses).mean()


def heard(setting: Setting, estimator: FeedbackEstimator, chosen: Tensor | None = None) -> Tensor:
    """Minus the step that the teacher makes of the feedback: to its own labels, or to those that are given."""
    student, teacher, parts = setting.student(), setting.teacher(), setting.batch(STEP).split(setting.accumulate)
    labels = teacher.label(parts, STEP)
    if chosen is not None:
        labels = [replace(q, labels=y) for q, y in zip(labels, chosen.chunk(len(parts)), strict=True)]
    move, _ = student.learn(parts, labels, STEP, requires=estimator.requires)
    feedback = estimator.estimate(move)
    before = flat(teacher.learner.parameters)
    teacher.learn(parts, labels, feedback, STEP)
    return before - flat(teacher.learner.parameters)
