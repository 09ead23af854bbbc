"""What training sees depends on seed and data alone: not on processes, workers, or where a run was stopped."""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path

import fsspec
import numpy as np
import numpy.typing as npt
import torch
import webdataset as wds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mplframe.augmentation.basic import Crop, Cutout, Flip
from mplframe.augmentation.randaugment import RandAugment
from mplframe.contracts.batch import Batch, Samples
from mplframe.contracts.data import Split
from mplframe.data.shards.source import ReaderName, WebDataset
from mplframe.data.stream import Loader, Stream

SIZE = 8
LARGEST = 60
WEAK = (Crop(Crop.Config(padding=1)), Flip())
STRONG = (Flip(), RandAugment(), Cutout(Cutout.Config(size=3)))


@dataclass(frozen=True)
class Crew:
    """Who makes the batches: processes, threads in each, and how they read shards."""

    world: int
    workers: int
    reader: ReaderName


@dataclass(frozen=True)
class Plan:
    """What training is to see: the shards and batch of both streams, and the seed."""

    seed: int
    labeled: tuple[int, ...]
    unlabeled: tuple[int, ...]
    batches: tuple[int, int]


crews = st.builds(
    Crew, st.sampled_from([1, 2, 4]), st.sampled_from([0, 1, 3]), st.sampled_from(["indexed", "sequential"])
)
shards = st.lists(st.integers(1, 12), min_size=1, max_size=5).map(tuple) | st.sampled_from(
    [(40,), (1,), (20, 20), (37, 3)]
)
plans = st.builds(
    Plan,
    st.integers(0, 2**32 - 1),
    shards,
    shards,
    st.tuples(st.sampled_from([4, 8, 12]), st.sampled_from([4, 16, 28])),
)


def pixels(number: int) -> npt.NDArray[np.uint8]:
    """[SIZE, SIZE, 3] noise that is the number's own."""
    return np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


@cache
def png(number: int) -> bytes:
    """The number's image as a file."""
    file = io.BytesIO()
    Image.fromarray(pixels(number)).save(file, "PNG", compress_level=0)
    return file.getvalue()


def shard(first: int, size: int) -> bytes:
    """A tar of `size` samples numbered from `first`; a sample's key and class are its number."""
    file = io.BytesIO()
    with wds.TarWriter(file) as writer:
        for number in range(first, first + size):
            writer.write({"__key__": str(number), "png": png(number), "cls": str(number)})
    return file.getvalue()


class Data:
    """The shards of a plan in a store, and a cache on disk."""

    def __init__(self, plan: Plan, cache: Path) -> None:
        self.plan, self._cache = plan, cache
        self._store = fsspec.filesystem("memory")
        self._root = f"/{cache.name}"
        for name, sizes in (("labeled", plan.labeled), ("unlabeled", plan.unlabeled)):
            for number, (size, end) in enumerate(zip(sizes, accumulate(sizes), strict=True)):
                self._store.pipe_file(f"{self._root}/{name}/{number:03d}.tar", shard(end - size, size))

    def __enter__(self) -> Data:
        return self

    def __exit__(self, *error: object) -> None:
        self._store.rm(self._root, recursive=True)

    def steps(self, crew: Crew, start: int, stop: int) -> list[Batch]:
        """The global batches of some steps, made by processes that each open everything by themselves."""
        ranks = [self._rank(crew, rank).batches(start, stop) for rank in range(crew.world)]
        return [joined(parts) for parts in zip(*ranks, strict=True)]

    def _rank(self, crew: Crew, rank: int) -> Loader:
        labeled, unlabeled = (
            Stream(
                self.split(name, crew.reader),
                name=name,
                seed=self.plan.seed,
                batch=batch,
                size=SIZE,
                channels=3,
                fit="exact",
                weak=WEAK,
                strong=STRONG,
                want_strong=True,
                rank=rank,
                world=crew.world,
            )
            for name, batch in zip(("labeled", "unlabeled"), self.plan.batches, strict=True)
        )
        return Loader(labeled, unlabeled, workers=crew.workers, prefetch=2)

    def split(self, name: str, reader: ReaderName) -> Split:
        """One stream's shards."""
        config = WebDataset.Config(
            labeled=f"memory:/{self._root}/{name}/*.tar",
            classes=LARGEST,
            reader=reader,
            cache=str(self._cache),
            cache_mb=0 if reader == "indexed" else 1_000,
            memory_mb=0,
        )
        split = WebDataset(config).split("labeled")
        assert split is not None
        return split


def joined(parts: Sequence[Batch]) -> Batch:
    """The global batch of the ranks' parts."""

    def both(parts: Sequence[Samples]) -> Samples:
        fields = ("weak", "strong", "labels")
        return Samples(**{field: torch.cat([getattr(part, field) for part in parts]) for field in fields})

    return Batch(both([part.labeled for part in parts]), both([part.unlabeled for part in parts]))  # type: ignore[misc]


def assert_same(ours: Sequence[Batch], theirs: Sequence[Batch]) -> None:
    """The same samples in the same two views."""
    assert len(ours) == len(theirs)
    for step, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        for stream in ("labeled", "unlabeled"):
            for field in ("weak", "strong", "labels"):
                x, y = (getattr(getattr(batch, stream), field) for batch in (a, b))
                assert torch.equal(x, y), f"step {step}, {stream}, {field}"


def assert_once_an_epoch(batches: Sequence[Batch], stream: str, total: int) -> None:
    """Whole epochs hold each sample once, and what is begun of the last holds none twice."""
    line = torch.cat([getattr(batch, stream).labels for batch in batches]).tolist()
    for start in range(0, len(line), total):
        epoch = Counter(line[start : start + total])
        assert set(epoch.values()) == {1}
        assert len(epoch) == min(total, len(line) - start)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans, st.integers(1, 6), st.lists(st.tuples(crews, st.integers(0, 6)), min_size=1, max_size=3))
def test_any_crew_goes_on_where_another_stopped(plan: Plan, steps: int, shifts: list[tuple[Crew, int]]) -> None:
    with tempfile.TemporaryDirectory() as cache, Data(plan, Path(cache)) as data:
        whole = data.steps(Crew(world=1, workers=0, reader="indexed"), 0, steps)
        assert_once_an_epoch(whole, "labeled", sum(plan.labeled))
        assert_once_an_epoch(whole, "unlabeled", sum(plan.unlabeled))
        found: list[Batch] = []
        for crew, wanted in shifts:
            found += data.steps(crew, len(found), min(steps, len(found) + wanted))
        found += data.steps(shifts[0][0], len(found), steps)
        assert_same(found, whole)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans, st.integers(0, 100), st.sampled_from(["indexed", "sequential"]))
def test_every_row_is_the_image_that_its_label_says(plan: Plan, step: int, reader: ReaderName) -> None:
    with tempfile.TemporaryDirectory() as cache, Data(plan, Path(cache)) as data:
        split = data.split("labeled", reader)
        stream = Stream(
            split,
            name="labeled",
            seed=plan.seed,
            batch=plan.batches[0],
            size=SIZE,
            channels=3,
            fit="exact",
            weak=(),
            strong=(),
            want_strong=True,
        )
        samples = stream.samples(step)
        assert samples.labels is not None
        assert samples.strong is not None
        for row, number in enumerate(samples.labels.tolist()):
            for view in (samples.weak, samples.strong):
                np.testing.assert_array_equal(view[row].permute(1, 2, 0).numpy(), pixels(number))
        keys = [sample.key for sample in split.read(range(len(split)))]
        assert keys == [str(number) for number in range(sum(plan.labeled))]
