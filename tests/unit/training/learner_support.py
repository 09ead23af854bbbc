"""Small networks and batches for the tests of learners."""

from collections.abc import Sequence
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from mplframe.contracts.batch import Batch, Samples
from mplframe.losses.supervised import Supervised
from mplframe.losses.uda import UDA
from mplframe.training.labeling import Labeling
from mplframe.training.learner import Learner
from mplframe.training.student import NetworkStudent
from mplframe.training.teacher import NetworkTeacher

CLASSES, SIZE = 4, 4


def plain(seed: int, *, dropout: float = 0.0) -> nn.Module:
    """Without BatchNorm."""
    return seeded_network(
        seed, lambda: [nn.Flatten(), nn.Linear(SIZE**2, 12), nn.Tanh(), nn.Dropout(dropout), nn.Linear(12, CLASSES)]
    )


def normed(seed: int, *, dropout: float = 0.0) -> nn.Module:
    """With torch's and timm's BatchNorm."""
    return seeded_network(
        seed,
        lambda: [
            nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 6, 3), BatchNormAct2d(6),
            nn.Flatten(), nn.Dropout(dropout), nn.Linear(24, CLASSES),
        ],
    )  # fmt: skip


def seeded_network(seed: int, layers: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(*layers()).double()


def samples(count: int, seed: int, *, labels: bool = True) -> Samples:
    random = torch.Generator().manual_seed(seed)
    weak, strong = torch.randn((2, count, 1, SIZE, SIZE), generator=random, dtype=torch.float64)
    return Samples(weak, strong, torch.randint(CLASSES, (count,), generator=random) if labels else None)


def batch(seed: int = 0, *, labeled: int = 8, unlabeled: int = 16) -> Batch:
    return Batch(samples(labeled, 100 + seed), samples(unlabeled, 200 + seed, labels=False))


def learner(module: nn.Module, **settings: Any) -> Learner:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    return Learner(module, optimizer, **settings)


def teacher(module: nn.Module, *, labeling: Labeling | None = None, seed: int = 0, **settings: Any) -> NetworkTeacher:
    return NetworkTeacher(learner(module, **settings), [Supervised(), UDA()], labeling=labeling, seed=seed)


def student(module: nn.Module, *, labeling: Labeling | None = None, seed: int = 0, **settings: Any) -> NetworkStudent:
    return NetworkStudent(learner(module, **settings), labeling=labeling, seed=seed)


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def farthest(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    return max(float((x.detach() - y.detach()).abs().max()) for x, y in zip(a, b, strict=True))
