"""What stages and tasks get in a suite: a real context, a little noise for data, and no run folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from mplframe.backends.single import Single
from mplframe.builders import Context, Maker
from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.backend import Backend
from mplframe.contracts.data import EvaluationBatch, Split, SplitName
from mplframe.contracts.optimizer import Lookahead
from mplframe.data.readers.arrays import ArrayReader
from mplframe.data.readers.split import ReaderSplit
from mplframe.data.stream import evaluation_batches
from mplframe.errors import UserError
from mplframe.evaluation.classification import Classification
from mplframe.inference.judge import Judge
from mplframe.testing.component import copied
from mplframe.testing.problem import random_batch

SAMPLES = 24


@dataclass
class MemoryContext:
    """See `mplframe.contracts.method.TaskContext`; artifacts stay in memory.

    Attributes:
        context: the real one.
        files: where tasks keep theirs.
        artifacts: what stages left, by role.
    """

    context: Context
    files: Path
    artifacts: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def on_the_cpu(cls, make: Maker, spec: ImageSpec, files: Path) -> MemoryContext:
        """In this process, with images of this kind.

        Args:
            make: makes components.
            spec: of the images.
            files: a folder for what tasks leave.
        """
        halves = (0.5,) * spec.channels
        backend = Single(Single.Config(device="cpu"))
        return cls(Context(backend, spec, 0, "method", make, (halves, halves), None), files)

    @property
    def backend(self) -> Backend:
        return self.context.backend

    @property
    def spec(self) -> ImageSpec:
        return self.context.spec

    @property
    def seed(self) -> int:
        return self.context.seed

    def make(self, kind: str, config: ComponentConfig) -> Any:
        return self.context.make(kind, config)

    def network(
        self,
        config: ComponentConfig,
        role: str,
        *,
        distributions: bool = False,
        size: int | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> nn.Module:
        return self.context.network(config, role, distributions=distributions, size=size, state=state)

    def lookahead(self, optimizer: torch.optim.Optimizer) -> Lookahead:
        return self.context.lookahead(optimizer)

    def artifact(self, role: str) -> Mapping[str, Any]:
        if role not in self.artifacts:
            raise UserError(
                f"no earlier stage left a network {role!r} (they left: {', '.join(self.artifacts) or 'none'})"
            )
        return self.artifacts[role]

    def split(self, name: SplitName) -> Split:
        """`SAMPLES` samples of noise in which the class can be seen."""
        batch = random_batch(self.spec, labeled=SAMPLES, seed=get_args(SplitName).index(name)).labeled
        assert batch.labels is not None
        pixels = batch.weak.permute(0, 2, 3, 1).contiguous().numpy()
        labels = None if name == "unlabeled" else batch.labels.numpy()
        return ReaderSplit(ArrayReader(pixels, labels, where=name))

    def copies(self) -> Sequence[str]:
        return ()

    def labeled_keys(self) -> Sequence[str]:
        split = self.split("labeled")
        return [split.key(number) for number in range(len(split))]

    def inputs(
        self, split: Split, numbers: range, *, augmented: bool = False, size: int | None = None
    ) -> Iterator[EvaluationBatch]:
        return evaluation_batches(
            split,
            batch_size=SAMPLES,
            size=size or self.spec.size,
            channels=self.spec.channels,
            fit="exact" if size in (None, self.spec.size) else "resize",
            eval_crop=1.0,
            numbers=numbers,
        )

    def folder(self, name: str) -> Path:
        folder = self.files / name
        folder.mkdir(exist_ok=True)
        return folder

    def judge(self, networks: Mapping[str, nn.Module], size: int | None = None) -> dict[str, dict[str, float]]:
        split = self.split("test")
        judge = Judge(
            self.backend,
            lambda size: self.inputs(split, range(len(split)), size=size),
            [Classification()],
            self.spec.classes,
        )
        return judge(networks, size)

    def keep(self, role: str, state: Mapping[str, Any]) -> None:
        self.artifacts[role] = copied(state)

    def check(self) -> None:
        return None

    def tell(self, text: str) -> None:
        return None
