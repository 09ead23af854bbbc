"""A tiny teacher/student problem with all that a real one has: batch norm, dropout, micro-batches, two views."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import torch
from torch import nn

from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Batch, Samples
from mplframe.contracts.loss import VIEWS, View
from mplframe.losses.supervised import Supervised
from mplframe.losses.uda import UDA
from mplframe.models.small_cnn import SmallCNN
from mplframe.randomness import derive, seeded
from mplframe.training.labeling import Labeling
from mplframe.training.learner import Learner
from mplframe.training.network import Network
from mplframe.training.student import NetworkStudent
from mplframe.training.teacher import NetworkTeacher

SPEC = ImageSpec(size=8, channels=1, classes=3)
LABELED, UNLABELED = 6, 8


@dataclass(frozen=True)
class Problem:
    """Teacher and student on one backend."""

    backend: Backend
    teacher: NetworkTeacher
    student: NetworkStudent

    @classmethod
    def on(
        cls, backend: Backend, *, ema: float | None = 0.9, labeling: Labeling | None = None, dropout: float = 0.1
    ) -> Problem:
        """The same problem every time, with the same initial weights on every backend.

        Args:
            backend: where it runs.
            ema: decay of the weights' averages; None keeps none.
            labeling: how pseudo labels are made; sampled by default.
            dropout: rate; what is drawn for it differs between kinds of devices.
        """
        teacher, student = (_learner(backend, role, ema, dropout) for role in ("teacher", "student"))
        return cls(
            backend,
            NetworkTeacher(teacher, (Supervised(), UDA()), labeling=labeling),
            NetworkStudent(student, labeling=labeling, label_smoothing=0.1),
        )

    def batches(self, step: int, *, parts: int = 1) -> list[Batch]:
        """The micro-batches of a step, on the device."""
        batch = random_batch(SPEC, labeled=LABELED, unlabeled=UNLABELED, seed=step)
        return [self.backend.place(part) for part in batch.split(parts)]

    def shares(self, step: int, *, parts: int, processes: int) -> list[Batch]:
        """This process's share of the micro-batches of a step that `processes` could share, or all if it is alone."""
        batch = random_batch(SPEC, labeled=LABELED * processes, unlabeled=UNLABELED * processes, seed=step)
        mine = [part.split(self.backend.world)[self.backend.rank] for part in batch.split(parts)]
        return [self.backend.place(part) for part in mine]


def random_batch(
    spec: ImageSpec, *, labeled: int, unlabeled: int = 0, views: Set[View] = frozenset(VIEWS), seed: int = 0
) -> Batch:
    """Noise in which the class can be seen, on the host.

    Args:
        spec: of the images.
        labeled: samples.
        unlabeled: samples; 0 for none. Their classes are given for diagnostics.
        views: no strong view is made that isn't among them.
        seed: the same seed gives the same batch.
    """
    generator = torch.Generator().manual_seed(derive("batch", seed))

    def samples(count: int, strong: bool) -> Samples:
        labels = torch.randint(spec.classes, (count,), generator=generator)
        shape = (count, spec.channels, spec.size, spec.size)
        weak = torch.randint(0, 128, shape, generator=generator)
        weak += (labels * (127 // max(1, spec.classes - 1))).view(-1, 1, 1, 1)
        noise = torch.randint(-20, 21, shape, generator=generator)
        return Samples(weak.to(torch.uint8), (weak + noise).clamp(0, 255).to(torch.uint8) if strong else None, labels)

    return Batch(
        samples(labeled, "labeled_strong" in views), samples(unlabeled, "strong" in views) if unlabeled else None
    )


def _learner(backend: Backend, role: str, ema: float | None, dropout: float) -> Learner:
    module = backend.prepare(_network(role, dropout))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    return Learner(module, optimizer, backend=backend, clip=5.0, ema=ema)


def _network(role: str, dropout: float) -> nn.Module:
    architecture = SmallCNN(SmallCNN.Config(channels=4, blocks=2, dropout=dropout))
    with seeded("init", role):
        return Network(architecture.build(SPEC), (0.5,), (0.5,))
