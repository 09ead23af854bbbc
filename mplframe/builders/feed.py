"""Batches for every stage, from one dataset source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mplframe.builders.maker import Maker
from mplframe.config.run import RunConfig
from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Batch
from mplframe.contracts.data import Clips, DatasetSource, EvaluationBatch, Split, SplitName
from mplframe.contracts.loss import View
from mplframe.data.damaged import Damaged, tolerant
from mplframe.data.decoding.fit import FitName
from mplframe.data.decoding.video import augment, evenly
from mplframe.data.identity import copies
from mplframe.data.manifests import Assignment, ChosenSplit, assigned_split, read_assignment
from mplframe.data.packing.partition import ENOUGH, hold_out_split
from mplframe.data.stream import Loader, Stream, evaluation_batches, generator
from mplframe.engine.loop import RunStage
from mplframe.errors import DataError, UserError
from mplframe.methods.labeling import MANIFEST

RunSplitName = SplitName | Literal["holdout"]
"""A split of the source, or the labeled samples that are held out (`evaluation.holdout`)."""


class DataFeed:
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
        self._opened: dict[str, Split] = {}
        self._splits: dict[str, Split] = {}

    @cached_property
    def manifest(self) -> Assignment | None:
        """What the config's manifest says; None where it names none."""
        return None if self.config.manifest is None else read_assignment(self.config.manifest)

    def split(self, name: RunSplitName) -> Split:
        """A split as the run uses it, opened once: what is trained on has nothing of what judges or chooses.

        Raises:
            DataError: the source has none of that name, it is empty, or more of it is damaged than may be.
            UserError: nothing is held out, or there are too few labels for it.
        """
        if name not in self._splits:
            if name == "holdout":
                found = self._divided[1]
                if found is None:
                    raise UserError("nothing is held out of the labeled samples; set evaluation.holdout")
            elif name == "test":
                found = self._whole(name)
            else:
                found = self._apart(self._divided[0] if name == "labeled" else self._whole(name), self.copies[name])
            self._splits[name] = tolerant(found, "labeled" if name == "holdout" else name, self.damaged)
        return self._splits[name]

    def to_label(self) -> Split:
        """All of the unlabeled split, as manifests number it; copies of what judges or chooses are among it."""
        if "to label" not in self._splits:
            self._splits["to label"] = tolerant(self._whole("unlabeled"), "unlabeled", self.damaged)
        return self._splits["to label"]

    def all_labeled(self) -> Split:
        """The labeled split with those that are held out."""
        return self._whole("labeled")

    @property
    def chooses(self) -> bool:
        """Whether the best checkpoint is kept: there are held-out samples to choose it by."""
        return self.config.checkpoint.keep_best is not False and self._divided[1] is not None

    def told(self) -> Iterator[str]:
        """What a user should know of how samples are kept apart."""
        held_out = self._divided[1]
        if held_out is not None and self.config.evaluation.holdout is None:
            yield (
                f"{len(held_out)} of {len(self._whole('labeled'))} labeled samples are held out to choose the best "
                "checkpoint by; checkpoint.keep_best=false trains on all of them"
            )
        for name, numbers in self.copies.items():
            if len(numbers):
                yield f"{len(numbers)} {name} samples are copies of held-out or test samples and aren't trained on"

    @cached_property
    def _divided(self) -> tuple[Split, Split | None]:
        """The labeled samples, without those that choose and those themselves."""
        amount, keep_best = self.config.evaluation.holdout, self.config.checkpoint.keep_best
        whole = self._whole("labeled")
        if amount is None and keep_best is False:
            return whole, None
        found = hold_out_split(whole, tolerant(whole, "labeled", self.damaged), amount)
        if found[1] is None and keep_best:
            raise UserError(
                f"checkpoint.keep_best chooses by labeled samples that are held out, and a class has fewer than "
                f"{ENOUGH} labels; set evaluation.holdout to how many are kept out of training, or keep_best=null"
            )
        return found

    @cached_property
    def copies(self) -> Mapping[str, npt.NDArray[np.int64]]:
        """Numbers of the labeled and unlabeled samples that what judges or chooses holds too, by split."""
        none = np.empty(0, np.int64)
        found = dict.fromkeys(("labeled", "unlabeled"), none)
        if not self.config.evaluation.exclude_copies:
            return found
        judged = [split for split in (self._divided[1], self._test) if split is not None]
        if judged:
            found["labeled"] = copies(self._divided[0], judged)
        if judged and self.source.split("unlabeled") is not None:
            found["unlabeled"] = copies(self._whole("unlabeled"), judged)
        return found

    @property
    def _test(self) -> Split | None:
        return None if self.source.split("test") is None else self._whole("test")

    def _apart(self, split: Split, copied: npt.NDArray[np.int64]) -> Split:
        if not len(copied):
            return split
        if len(copied) == len(split):
            raise DataError(
                "every sample of a split that is trained on is also among those that judge or choose; give the test "
                "split samples of its own, or set evaluation.exclude_copies=false to train on copies"
            )
        return ChosenSplit(split, np.setdiff1d(np.arange(len(split)), copied))

    def _whole(self, name: SplitName) -> Split:
        """A split as the source gives it, or what the config's manifest names of it, with whatever is damaged."""
        if name not in self._opened:
            found = self.source.split(name)
            if found is None:
                raise DataError(
                    f"the method needs {name} samples and the dataset {self.config.data.name!r} gives none; "
                    f"set data.{name}"
                )
            if len(found) == 0:
                raise DataError(f"the {name} split of the dataset {self.config.data.name!r} has no samples")
            self._check_media(found, name)
            named = self.manifest if name == "unlabeled" else None
            self._opened[name] = found if named is None else assigned_split(found, named, len(self.source.classes))
        return self._opened[name]

    def _check_media(self, split: Split, name: SplitName) -> None:
        wanted, lacking = ("image", "video") if self.config.input.clip is None else ("video", "image")
        if wanted not in split.media:
            change = "set input.clip, such as input.clip.frames=8" if wanted == "image" else "unset input.clip"
            raise UserError(
                f"the {name} split of the dataset {self.config.data.name!r} has {lacking}s, but the run takes "
                f"{wanted}s; {change}, or give it other data"
            )

    def batches(self, stage: RunStage, start: int) -> Iterator[Batch]:
        """See `mplframe.engine.loop.Feed`."""
        return self._loader(stage).batches(start, stage.plan.steps)

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
        self,
        split: Split,
        size: int | None = None,
        numbers: range | None = None,
        *,
        augmented: bool = False,
        shared: bool = False,
    ) -> Iterator[EvaluationBatch]:
        """Samples of a split in order, as networks take them in evaluation.

        Args:
            split: where they come from.
            size: height and width; the run's own by default.
            numbers: which; all by default.
            augmented: give them the augmentations of the strong view on top.
            shared: processes take batches in turn, rather than each all of them.
        """
        settings, clip = self.config.input, self.config.input.clip
        clips = None if clip is None else Clips(clip.frames, clip.stride, evenly(clip.test_clips))
        batches = evaluation_batches(
            split,
            batch_size=self.config.evaluation.batch_size,
            size=size or settings.size,
            channels=settings.channels,
            fit=self._fit(size),
            eval_crop=settings.eval_crop,
            workers=settings.workers,
            numbers=numbers,
            clips=clips,
            rank=self.backend.rank if shared else 0,
            world=self.backend.world if shared else 1,
        )
        return (self._noised(batch) for batch in batches) if augmented else batches

    def judged_batches(self, name: RunSplitName, size: int | None = None) -> Iterator[EvaluationBatch]:
        """A fresh pass over this process's share of a split that networks are judged on."""
        return self.inputs(self.split(name), size, shared=True)

    def _noised(self, batch: EvaluationBatch) -> EvaluationBatch:
        rng = generator(self.config.seed, "noised", batch.numbers[0])
        draws = [each.draw(len(batch.images), batch.images.shape[-1], rng) for each in self._strong]
        return batch._replace(images=augment(batch.images, self._strong, draws))

    def _fit(self, size: int | None) -> FitName:
        """Images that are fed as they are have to be scaled where a stage wants another size."""
        fit = self.config.input.fit
        return "resize" if fit == "exact" and size not in (None, self.config.input.size) else fit

    def _unlabeled(self, stage: RunStage) -> Split:
        """The unlabeled split, or what an earlier task chose of it."""
        name = stage.plan.streams.assigned
        if not name:
            return self.split("unlabeled")
        own = f"{stage.name}/unlabeled"
        if own not in self._splits:
            chosen = read_assignment(str(stage.context.folder(name) / MANIFEST))
            found = assigned_split(self._whole("unlabeled"), chosen, len(self.source.classes))
            self._splits[own] = tolerant(found.without(self.copies["unlabeled"]), "unlabeled", self.damaged)
        return self._splits[own]

    def _loader(self, stage: RunStage) -> Loader:
        """This process's share of each batch."""
        settings = self.config.input
        labeled = self._stream(stage, "labeled", self.split("labeled"))
        unlabeled = None
        if stage.plan.streams.unlabeled:
            unlabeled = self._stream(stage, "unlabeled", self._unlabeled(stage))
        return Loader(
            labeled,
            unlabeled,
            workers=settings.workers,
            prefetch=settings.prefetch,
            prefetch_bytes=settings.prefetch_mb << 20,
            pin=self.backend.device.type == "cuda",
        )

    def _stream(self, stage: RunStage, name: Literal["labeled", "unlabeled"], split: Split) -> Stream:
        settings, streams = self.config.input, stage.plan.streams
        strong: View = "labeled_strong" if name == "labeled" else "strong"
        augmented = name in streams.augmented
        return Stream(
            split,
            name=f"{stage.name}/{name}",
            seed=self.config.seed,
            batch=streams.labeled if name == "labeled" else streams.unlabeled,
            size=streams.size or settings.size,
            channels=settings.channels,
            fit=self._fit(streams.size),
            weak=self._weak if augmented else (),
            strong=self._strong if augmented else (),
            want_strong=strong in streams.views,
            eval_crop=settings.eval_crop,
            still=not augmented,
            clip=None if settings.clip is None else Clips(settings.clip.frames, settings.clip.stride, ()),
            rank=self.backend.rank,
            world=self.backend.world,
            parts=streams.accumulate,
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
