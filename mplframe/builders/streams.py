"""Batches for every stage, from one dataset source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor

from mplframe.builders.maker import Maker
from mplframe.config.run import RunConfig
from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Batch
from mplframe.contracts.data import DatasetSource, Split, SplitName
from mplframe.data.damaged import Damaged, tolerant
from mplframe.data.loader import Loader
from mplframe.data.stream import Stream, evaluation_batches
from mplframe.engine.loop import RunStage
from mplframe.errors import DataError


class Streams:
    """Batches for every stage, from one dataset source.

    Args:
        config: of the run.
        source: the dataset.
        make: makes augmentations.
        backend: whose rank and world share the global batches.

    Attributes:
        damaged: samples that are gone on without.
    """

    def __init__(self, config: RunConfig, source: DatasetSource, make: Maker, backend: Backend) -> None:
        self.config = config
        self.source = source
        self.backend = backend
        self.damaged = Damaged(config.input.max_damaged)
        self._weak = [make("augmentation", c) for c in config.input.weak]
        self._strong = [make("augmentation", c) for c in config.input.strong]
        self._splits: dict[str, Split] = {}

    def split(self, name: SplitName) -> Split:
        """A split of the source, opened once.

        Raises:
            DataError: the source has none of that name, it is empty, or more of it is damaged than may be.
        """
        if name not in self._splits:
            found = self.source.split(name)
            if found is None:
                raise DataError(
                    f"the method needs {name} samples and the dataset {self.config.data.name!r} gives none; "
                    f"set data.{name}"
                )
            if len(found) == 0:
                raise DataError(f"the {name} split of the dataset {self.config.data.name!r} has no samples")
            self._splits[name] = tolerant(found, name, self.damaged, replace=name != "test")
        return self._splits[name]

    def batches(self, stage: RunStage, start: int) -> Iterator[Batch]:
        """See `mplframe.engine.loop.Feed`."""
        streams = stage.plan.streams
        labeled = self._stream(stage, "labeled", streams.labeled, strong="labeled_strong" in streams.views)
        unlabeled = None
        if streams.unlabeled:
            unlabeled = self._stream(stage, "unlabeled", streams.unlabeled, strong="strong" in streams.views)
        loader = Loader(
            labeled,
            unlabeled,
            workers=self.config.input.workers,
            prefetch=self.config.input.prefetch,
            prefetch_bytes=self.config.input.prefetch_mb << 20,
            pin=self.backend.device.type == "cuda",
        )
        return loader.batches(start, stage.plan.steps)

    def position(self, stage: RunStage, step: int) -> dict[str, Any]:
        """See `mplframe.engine.loop.Feed`."""
        sizes: dict[SplitName, int] = {"labeled": stage.plan.streams.labeled, "unlabeled": stage.plan.streams.unlabeled}
        return {
            name: {"samples": step * size, "epochs": step * size / len(self.split(name))}
            for name, size in sizes.items()
            if size
        }

    def test_batches(self) -> Iterable[tuple[Tensor, Tensor, Sequence[str]]]:
        """A fresh pass over the test split."""
        settings = self.config.input
        return evaluation_batches(
            self.split("test"),
            batch_size=self.config.evaluation.batch_size,
            size=settings.size,
            channels=settings.channels,
            fit=settings.fit,
            eval_crop=settings.eval_crop,
            workers=settings.workers,
        )

    def _stream(self, stage: RunStage, name: SplitName, batch: int, *, strong: bool) -> Stream:
        settings = self.config.input
        return Stream(
            self.split(name),
            name=f"{stage.name}/{name}",
            seed=self.config.seed,
            batch=batch,
            size=settings.size,
            channels=settings.channels,
            fit=settings.fit,
            weak=self._weak,
            strong=self._strong,
            want_strong=strong,
            rank=self.backend.rank,
            world=self.backend.world,
        )
