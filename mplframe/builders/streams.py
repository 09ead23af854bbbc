"""Batches for every stage, from one dataset source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from mplframe.builders.assigned import assigned_split
from mplframe.builders.maker import Maker
from mplframe.builders.micro_batches import joined
from mplframe.config.run import RunConfig
from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Batch
from mplframe.contracts.data import DatasetSource, EvaluationBatch, Split, SplitName
from mplframe.contracts.loss import View
from mplframe.data.damaged import Damaged, tolerant
from mplframe.data.fit import FitName
from mplframe.data.loader import Loader
from mplframe.data.order import generator
from mplframe.data.stream import Stream, evaluation_batches
from mplframe.engine.loop import RunStage
from mplframe.errors import DataError, UserError
from mplframe.tasks.labeling import MANIFEST


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
        self._assigned: dict[str, Split] = {}

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
            self._splits[name] = tolerant(found, name, self.damaged)
        return self._splits[name]

    def batches(self, stage: RunStage, start: int) -> Iterator[Batch]:
        """See `mplframe.engine.loop.Feed`."""
        # Processes share each micro-batch, so that it has the samples that it has in one process: batch norms see them.
        parts = stage.plan.streams.accumulate if self.backend.world > 1 else 1
        loaders = [self._loader(stage, part, parts) for part in range(parts)]
        return joined([loader.batches(start, stage.plan.steps) for loader in loaders])

    def position(self, stage: RunStage, step: int) -> dict[str, Any]:
        """See `mplframe.engine.loop.Feed`."""
        streams = stage.plan.streams
        sizes = {"labeled": streams.labeled, "unlabeled": streams.unlabeled}
        splits = {
            "labeled": self.split("labeled"),
            **({"unlabeled": self._unlabeled(stage)} if streams.unlabeled else {}),
        }
        return {
            name: {"samples": step * size, "epochs": step * size / len(splits[name])}
            for name, size in sizes.items()
            if size
        }

    def inputs(
        self, split: Split, size: int | None = None, numbers: range | None = None, *, augmented: bool = False
    ) -> Iterator[EvaluationBatch]:
        """Samples of a split in order, as networks take them in evaluation.

        Args:
            split: where they come from.
            size: height and width; the run's own by default.
            numbers: which; all by default.
            augmented: give them the augmentations of the strong view on top.
        """
        settings = self.config.input
        batches = evaluation_batches(
            split,
            batch_size=self.config.evaluation.batch_size,
            size=size or settings.size,
            channels=settings.channels,
            fit=self._fit(size),
            eval_crop=settings.eval_crop,
            workers=settings.workers,
            numbers=numbers,
        )
        return (self._noised(batch) for batch in batches) if augmented else batches

    def test_batches(self, size: int | None = None) -> Iterator[EvaluationBatch]:
        """A fresh pass over the test split."""
        return self.inputs(self.split("test"), size)

    def _noised(self, batch: EvaluationBatch) -> EvaluationBatch:
        images = batch.images
        rng = generator(self.config.seed, "noised", batch.numbers[0])
        for augmentation in self._strong:
            images = augmentation.apply(images, augmentation.draw(len(images), images.shape[-1], rng))
        return batch._replace(images=images)

    def _fit(self, size: int | None) -> FitName:
        """Images that are fed as they are have to be scaled where a stage wants another size."""
        fit = self.config.input.fit
        return "resize" if fit == "exact" and size not in (None, self.config.input.size) else fit

    def _unlabeled(self, stage: RunStage) -> Split:
        """The unlabeled split, or what an earlier task chose of it."""
        split, name = self.split("unlabeled"), stage.plan.streams.assigned
        if not name:
            return split
        if stage.name not in self._assigned:
            manifest = stage.context.folder(name) / MANIFEST
            self._assigned[stage.name] = assigned_split(split, manifest, len(self.source.classes))
        return self._assigned[stage.name]

    def _loader(self, stage: RunStage, part: int, parts: int) -> Loader:
        """This process's share of one of the parts of each batch."""
        settings = self.config.input
        labeled = self._stream(stage, "labeled", self.split("labeled"), part, parts)
        unlabeled = None
        if stage.plan.streams.unlabeled:
            unlabeled = self._stream(stage, "unlabeled", self._unlabeled(stage), part, parts)
        return Loader(
            labeled,
            unlabeled,
            workers=settings.workers and max(1, settings.workers // parts),
            prefetch=settings.prefetch,
            prefetch_bytes=(settings.prefetch_mb << 20) // parts,
            pin=self.backend.device.type == "cuda",
        )

    def _stream(
        self, stage: RunStage, name: Literal["labeled", "unlabeled"], split: Split, part: int, parts: int
    ) -> Stream:
        settings, streams = self.config.input, stage.plan.streams
        strong: View = "labeled_strong" if name == "labeled" else "strong"
        augmented, fit = name in streams.augmented, self._fit(streams.size)
        return Stream(
            split,
            name=f"{stage.name}/{name}",
            seed=self.config.seed,
            batch=streams.labeled if name == "labeled" else streams.unlabeled,
            size=streams.size or settings.size,
            channels=settings.channels,
            fit=fit,
            weak=self._weak if augmented else (),
            strong=self._strong if augmented else (),
            want_strong=strong in streams.views,
            eval_crop=None if augmented or fit == "exact" else settings.eval_crop,
            rank=part * self.backend.world + self.backend.rank,
            world=parts * self.backend.world,
        )


def check_shares(stages: Sequence[RunStage], world: int) -> None:
    """See that all processes can have equally many samples of every micro-batch.

    Args:
        stages: of the run.
        world: number of processes.

    Raises:
        UserError: names the stage and the batch.
    """
    for stage in stages:
        streams = stage.plan.streams
        for name, size in (("labeled", streams.labeled), ("unlabeled", streams.unlabeled)):
            if size % (streams.accumulate * world):
                cut = f" in {streams.accumulate} micro-batches" if streams.accumulate > 1 else ""
                raise UserError(
                    f"stage {stage.name}: {world} processes can't share {size} {name} samples a step{cut} equally; "
                    f"set a multiple of {streams.accumulate * world}, or start another number of processes"
                )
