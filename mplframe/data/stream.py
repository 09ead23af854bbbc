"""Which samples a step has: the endless order, the stream of views made of it, the loader of both streams."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from mplframe.contracts.batch import Batch, Samples
from mplframe.contracts.data import Augmentation, Clips, EvaluationBatch, Sample, Split
from mplframe.data.damaged import usable
from mplframe.data.decoding.fit import FitName, draw_crops, evaluation_shorter, fit, fit_evaluation
from mplframe.data.decoding.video import augment
from mplframe.errors import DataError
from mplframe.io.threads import ordered

Numbers = npt.NDArray[np.int64]


def generator(seed: int, *path: str | int) -> np.random.Generator:
    """Random numbers that depend on the seed and on a path of names and non-negative numbers alone."""
    # SeedSequence takes [1, 2] and [1, 2, 0] for the same entropy, so the length of the path is part of it.
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in path]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, len(path), *words])))


class Order:
    """An endless line of sample numbers, epoch after epoch; a position on it is all there is to save.

    Each epoch is a permutation of all samples: groups are permuted, `window` consecutive ones are gathered, and samples
    are fully shuffled within the window. Only a few windows are ever in memory.

    Args:
        group_sizes: how many samples lie together, group by group; samples are numbered through the groups.
        seed: of the run.
        name: of the stream; streams of different names have independent orders.
        window: groups that are shuffled together.
    """

    def __init__(self, group_sizes: Sequence[int], seed: int, name: str, window: int = 16) -> None:
        self._sizes = np.asarray(group_sizes, dtype=np.int64)
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._seed, self._name, self._width = seed, name, window
        self.samples = int(self._sizes.sum())
        if self.samples < 1:
            raise ValueError("an order needs at least one sample")
        self._epoch = lru_cache(maxsize=2)(self._permuted_groups)
        self._window = lru_cache(maxsize=4)(self._shuffled_window)

    def take(self, start: int, stop: int) -> Numbers:
        """[stop - start] int64 sample numbers at these positions of the line; may span any number of epochs."""
        parts: list[Numbers] = [np.empty(0, np.int64)]
        while start < stop:
            epoch, at = divmod(start, self.samples)
            ends = self._epoch(epoch)[1]
            number = int(np.searchsorted(ends, at, side="right"))
            window = self._window(epoch, number)
            first = at - (int(ends[number]) - len(window))
            parts.append(window[first : first + stop - start])
            start += len(parts[-1])
        return np.concatenate(parts)

    def window(self, position: int) -> tuple[int, int]:
        """The epoch and the number of the window that a position lies in."""
        epoch, at = divmod(position, self.samples)
        return epoch, int(np.searchsorted(self._epoch(epoch)[1], at, side="right"))

    def groups(self, window: tuple[int, int]) -> Numbers:
        """The groups of a window; behind an epoch's last window comes the next epoch's first."""
        epoch, number = window
        if number == len(self._epoch(epoch)[1]):
            epoch, number = epoch + 1, 0
        return self._epoch(epoch)[0][number * self._width : (number + 1) * self._width]

    def _permuted_groups(self, epoch: int) -> tuple[Numbers, Numbers]:
        """The groups in the epoch's order, and the position within the epoch at which each window ends."""
        groups = generator(self._seed, self._name, "groups", epoch).permutation(len(self._sizes))
        ends = np.cumsum(self._sizes[groups])
        last = np.minimum(np.arange(self._width, len(groups) + self._width, self._width), len(groups)) - 1
        return groups, ends[last]

    def _shuffled_window(self, epoch: int, number: int) -> Numbers:
        groups = self.groups((epoch, number))
        samples = np.concatenate([np.arange(self._starts[g], self._starts[g] + self._sizes[g]) for g in groups])
        generator(self._seed, self._name, "window", epoch, number).shuffle(samples)
        return samples


class Stream:
    """The endless training input made of one split.

    Which samples a step has, and what happens to them, depends on the seed, the name and the step alone; ranks take
    equal runs of rows of each micro-batch of the same global batch.

    Args:
        split: where samples come from.
        name: of the stream; part of its random numbers.
        seed: of the run.
        batch: samples a step, over all ranks.
        size: height and width of the input, in pixels.
        channels: 1 or 3.
        fit: how images get to `size`; see `InputConfig.fit`.
        weak: augmentations of the weak view.
        strong: augmentations of the strong view; like the weak ones they start from the fitted image, and where fitting
            is random the view has a crop of its own.
        want_strong: whether the strong view is made at all; the weak one is the same either way.
        eval_crop: what evaluation, and `fit=random_crop`, leave of the shorter side.
        still: fit images as for evaluation (see `fit_evaluation`), whatever is random about `fit`, and take clips from
            the middle of their videos.
        clip: take a clip of this form of each video, from a place of its own; its `positions` don't matter.
        rank: of this process.
        world: number of processes.
        parts: micro-batches of a batch. Processes share each of them, so that it has the samples that it has in one
            process: batch norms see them. `world` times `parts` must divide `batch`.
    """

    def __init__(
        self,
        split: Split,
        *,
        name: str,
        seed: int,
        batch: int,
        size: int,
        channels: int,
        fit: FitName,
        weak: Sequence[Augmentation],
        strong: Sequence[Augmentation],
        want_strong: bool,
        eval_crop: float = 1.0,
        still: bool = False,
        clip: Clips | None = None,
        rank: int = 0,
        world: int = 1,
        parts: int = 1,
    ) -> None:
        if batch % (world * parts):
            raise ValueError(
                f"a batch of {batch} in {parts} micro-batches can't be shared by {world} processes; choose a multiple"
            )
        self._split, self._name, self._seed, self._batch = split, name, seed, batch
        self._size, self._channels, self._fit = size, channels, fit
        self._weak, self._strong, self._want_strong = weak, strong, want_strong
        self._eval_crop, self._still, self._clip = eval_crop, still, clip
        self._shares = _shares(batch, rank, world, parts)
        self._order = Order(split.group_sizes, seed, name)
        self._announced: tuple[int, int] | None = None

    def epochs(self, step: int) -> float:
        """How often the split has been seen when step `step` (from 0) begins."""
        return step * self._batch / self._order.samples

    @property
    def bytes_a_step(self) -> int:
        """What this rank's samples of a step take."""
        views = 2 if self._want_strong else 1
        frames = 1 if self._clip is None else self._clip.frames
        return sum(map(len, self._shares)) * (views * frames * self._channels * self._size**2 + 8)

    def samples(self, step: int) -> Samples:
        """This rank's samples of global step `step`: uint8 [n, channels, size, size] views, or [n, frames, channels,
        size, size] ones of clips, and int64 [n] labels.

        Raises:
            DataError: a sample is damaged or has the wrong size.
        """
        self._announce(step * self._batch)
        return Samples.joined([self._share(step, share) for share in self._shares])

    def _share(self, step: int, share: range) -> Samples:
        # Augmentations may mix rows 2i and 2i + 1, so whole pairs are made even where shares meet inside one.
        rows = slice(share.start - share.start % 2, min(self._batch, share.stop + share.stop % 2))
        at = step * self._batch
        read = self._read(self._order.take(at + rows.start, at + rows.stop).tolist(), step, rows)
        rng = generator(self._seed, self._name, "augmentation", step)
        mine = slice(share.start - rows.start, share.stop - rows.start)
        fitted = self._fitted(read, rng, rows)
        weak = self._augmented(fitted, self._weak, rng, rows)[mine]
        strong = None
        if self._want_strong:
            fitted = self._fitted(read, rng, rows) if self._crops else fitted
            strong = self._augmented(fitted, self._strong, rng, rows)[mine]
        labels = torch.tensor([sample.label for sample in read[mine]], dtype=torch.int64)
        return Samples(weak, strong, labels, _targets(read[mine]))

    def _read(self, numbers: list[int], step: int, rows: slice) -> list[Sample]:
        clip = self._clip
        if clip is None:
            return _images(self._split.read(numbers))
        drawn = generator(self._seed, self._name, "clip", step).random(self._batch)[rows].tolist()
        positions = [0.5] * len(numbers) if self._still else drawn
        return self._split.read_clips(numbers, [replace(clip, positions=(position,)) for position in positions])

    def _announce(self, position: int) -> None:
        """Tell the split what comes after the present window, once for each."""
        window = self._order.window(position)
        if window != self._announced:
            self._announced = window
            self._split.expect(self._order.groups((window[0], window[1] + 1)).tolist())

    @property
    def _crops(self) -> bool:
        return self._fit in ("random_crop", "random_resized_crop") and not self._still

    def _fitted(self, samples: Sequence[Sample], rng: np.random.Generator, rows: slice) -> torch.Tensor:
        if self._still:
            return fit_evaluation(samples, self._size, self._channels, self._fit, self._eval_crop)
        crops = draw_crops(self._batch, rng)[rows] if self._crops else None
        shorter = evaluation_shorter(self._size, self._eval_crop)
        return fit(samples, self._size, self._channels, self._fit, crops, shorter=shorter)

    def _augmented(
        self, images: torch.Tensor, augmentations: Sequence[Augmentation], rng: np.random.Generator, rows: slice
    ) -> torch.Tensor:
        draws = [each.draw(self._batch, self._size, rng).rows(rows.start, rows.stop) for each in augmentations]
        return augment(images, augmentations, draws)


def _shares(batch: int, rank: int, world: int, parts: int) -> list[range]:
    """The rows of a batch that a process has; one by itself has all of them, whatever they are cut into."""
    parts = parts if world > 1 else 1
    size = batch // (world * parts)
    starts = [(part * world + rank) * size for part in range(parts)]
    return [range(start, start + size) for start in starts]


def _images(samples: list[Sample]) -> list[Sample]:
    """These samples.

    Raises:
        DataError: one is a video.
    """
    for sample in samples:
        if sample.image.ndim != 3:
            raise DataError(f"sample {sample.key!r} is a video; set input.clip to feed clips, or remove it")
    return samples


def _targets(samples: Sequence[Sample]) -> torch.Tensor | None:
    found = [sample.target for sample in samples if sample.target is not None]
    return torch.from_numpy(np.stack(found)) if found else None


def evaluation_batches(
    split: Split,
    *,
    batch_size: int,
    size: int,
    channels: int,
    fit: FitName,
    eval_crop: float,
    workers: int = 0,
    numbers: range | None = None,
    clips: Clips | None = None,
    rank: int = 0,
    world: int = 1,
) -> Iterator[EvaluationBatch]:
    """All samples of a split once, or those of a range, in order; of `world` processes each has every `world`-th batch.

    A batch is smaller where `batch_size` doesn't divide their number, or damaged samples are left out. `workers`
    threads work ahead. Of videos it has `batch_size` of the `clips` in all, but at least one video's.

    Raises:
        DataError: a sample is damaged or has the wrong size.
    """
    wanted = range(len(split)) if numbers is None else numbers
    if fit != "exact":
        split = split.scaled(evaluation_shorter(size, eval_crop))
    together = batch_size if clips is None else max(1, batch_size // len(clips.positions))

    def make(start: int) -> EvaluationBatch | None:
        found = usable(split, wanted[start : start + together], clips)
        if not found:
            return None
        samples = [sample for _, sample in found]
        if clips is None:
            _images(samples)
        labels = torch.tensor([sample.label for sample in samples], dtype=torch.int64)
        images = fit_evaluation(samples, size, channels, fit, eval_crop)
        if clips is not None:
            images = images.unflatten(1, (len(clips.positions), clips.frames))  # type: ignore[no-untyped-call]
        return EvaluationBatch(images, labels, [sample.key for sample in samples], [number for number, _ in found])

    made = ordered(make, range(rank * together, len(wanted), world * together), workers=workers, prefetch=2)
    return (batch for batch in made if batch is not None)


class Loader:
    """Makes the batches of a run; the same for any number of workers.

    Args:
        labeled: the labeled stream.
        unlabeled: the unlabeled stream, where the method uses one.
        workers: threads that make batches; 0 makes them in the thread that iterates.
        prefetch: finished batches that may wait.
        prefetch_bytes: bound of what they take; one may always wait.
        pin: put batches into page-locked memory, for asynchronous copies to a GPU.
    """

    def __init__(
        self,
        labeled: Stream,
        unlabeled: Stream | None,
        *,
        workers: int,
        prefetch: int,
        prefetch_bytes: int = 1 << 30,
        pin: bool = False,
    ) -> None:
        self._labeled, self._unlabeled = labeled, unlabeled
        self._workers, self._pin = workers, pin
        size = labeled.bytes_a_step + (unlabeled.bytes_a_step if unlabeled is not None else 0)
        self._prefetch = max(1, min(prefetch, prefetch_bytes // size))

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches of steps `start` to `stop`, in order. Close the iterator to end the workers early.

        Raises:
            DataError: a sample is damaged or has the wrong size.
        """
        return ordered(self._batch, range(start, stop), workers=self._workers, prefetch=self._prefetch)

    def _batch(self, step: int) -> Batch:
        batch = Batch(self._labeled.samples(step), None if self._unlabeled is None else self._unlabeled.samples(step))
        return batch.map(torch.Tensor.pin_memory) if self._pin else batch
