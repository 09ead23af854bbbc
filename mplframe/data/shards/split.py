"""A split that lies in shards."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from mplframe.contracts.data import Clips, Damage, Media, Sample, Split, digest_of
from mplframe.data.decoding.media import decode_file
from mplframe.data.decoding.video import VIDEO_EXTENSIONS, decode_clips
from mplframe.data.shards.access import Access
from mplframe.data.shards.listing import Shard
from mplframe.data.shards.members import ASSIGNED, TagRule, check_label, parse_label, read_assigned
from mplframe.data.shards.survey import Layout, Survey
from mplframe.errors import DamageError, DataError
from mplframe.io.threads import over_shards

OVERHEAD = 512
"""What a sample takes beside its pixels, in bytes: objects, key, dictionary entry."""


class Memory:
    """Samples by number and size, up to a bound in bytes; safe to use from many threads.

    The size is the least that the shorter side was to keep, or None where it is the whole image.

    What came first stays: with every sample read once an epoch, replacing one by another gains nothing.
    """

    def __init__(self, bound: int) -> None:
        self._left = bound
        self._kept: dict[tuple[int, int | None], Sample] = {}
        self._lock = threading.Lock()

    def get(self, number: int, shorter: int | None) -> Sample | None:
        """The sample, if it is kept."""
        return self._kept.get((number, shorter))

    def offer(self, number: int, shorter: int | None, sample: Sample) -> None:
        """Keep a sample if there is room."""
        size = sample.image.nbytes + OVERHEAD + (0 if sample.target is None else sample.target.nbytes)
        with self._lock:
            if size <= self._left and (number, shorter) not in self._kept:
                self._kept[number, shorter] = sample
                self._left -= size


Numbers = npt.NDArray[np.int64]
Found = TypeVar("Found")


@dataclass(frozen=True)
class LabelRule:
    """How labels are read.

    Attributes:
        classes: names, in index order.
        required: refuse samples without a label.
        key: of the label in a `.json`.
        tags: how tags are read; None where there are none.
    """

    classes: Sequence[str]
    required: bool
    key: str = "label"
    tags: TagRule | None = None


class Encoded(NamedTuple):
    """A sample as it lies in its shard.

    Attributes:
        key: its name within the shard.
        url: of the shard.
        extension: of the image or video, in lower case.
        image: the image file, or the video.
        label: extension and content of the member that holds the label, or what was assigned.
    """

    key: str
    url: str
    extension: str
    image: memoryview
    label: tuple[str, memoryview] | None


class ShardSplit(Split):
    """Reads samples by their place in the shards; threads share nothing but what is kept in memory.

    Args:
        shards: in a stable order.
        survey: of these shards.
        layout: of a shard, by its number.
        access: to the content of shards.
        labels: how they are read.
        memory_bytes: bound of the decoded samples that are kept.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        survey: Survey,
        layout: Callable[[int], Layout],
        access: Access,
        labels: LabelRule,
        *,
        memory_bytes: int,
    ) -> None:
        self._shards, self._survey, self._layout_of, self._access = shards, survey, layout, access
        self._labels, self._memory = labels, Memory(memory_bytes)
        self._shorter: int | None = None
        self._ends = np.cumsum(survey.counts, dtype=np.int64)

    @property
    def group_sizes(self) -> Sequence[int]:
        """Samples in each shard."""
        return self._survey.counts

    @property
    def group_names(self) -> Sequence[str]:
        """URLs of the shards."""
        return [shard.url for shard in self._shards]

    @property
    def damage(self) -> Sequence[Damage]:
        return self._survey.damage

    @property
    def media(self) -> frozenset[Media]:
        """What the first shard with samples has."""
        first = next((number for number, count in enumerate(self._survey.counts) if count), None)
        if first is None:
            return super().media
        layout = self._layout(first)
        videos = bool(np.any(layout.video >= 0))
        images = bool(np.any(layout.image != layout.video))
        found: dict[Media, bool] = {"image": images, "video": videos}
        return frozenset(kind for kind, there in found.items() if there)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def key(self, index: int) -> str:
        owner = int(np.searchsorted(self._ends, index, side="right"))
        return self._layout(owner).keys(np.array([index - self._start(owner)]))[0]

    def expect(self, groups: Sequence[int]) -> None:
        self._access.fetch_ahead([self._shards[group] for group in groups])

    def scaled(self, shorter: int) -> ShardSplit:
        view = copy.copy(self)
        view._shorter = shorter
        return view

    def read(self, indices: Sequence[int]) -> list[Sample]:
        """The samples with these numbers, in this order; shards are read front to back."""
        kept = {i: self._memory.get(i, self._shorter) for i in set(indices)}
        found = {i: sample for i, sample in kept.items() if sample is not None}
        missing = sorted(kept.keys() - found.keys())
        for i, encoded in zip(missing, self.encoded(missing), strict=True):
            found[i] = self._decoded(encoded)
            self._memory.offer(i, self._shorter, found[i])
        return [found[i] for i in indices]

    def read_clips(self, indices: Sequence[int], clips: Sequence[Clips]) -> list[Sample]:
        """Clips of these videos, decoded each time: the next epoch wants others."""
        files = self.encoded(indices, videos=True)
        return [self._clips(encoded, wanted) for encoded, wanted in zip(files, clips, strict=True)]

    def encoded(self, indices: Sequence[int], *, videos: bool = False) -> list[Encoded]:
        """The samples with these numbers, in this order, as they lie in their shards.

        Args:
            indices: numbers of samples.
            videos: of a sample with an image and a video, give the video.

        Raises:
            DataError: a shard is gone, or was changed since it was listed.
            StoreError: a shard can't be read.
        """
        return self._by_shard(indices, lambda owner, places: self._visit(owner, places, videos))

    def tags(self, indices: Sequence[int]) -> list[tuple[int, ...]] | None:
        rule = self._labels.tags
        if rule is None:
            return None

        def visit(owner: int, places: Numbers) -> list[tuple[int, ...]]:
            layout = self._layout(owner)
            members = layout.index.best(("json",))[layout.samples[places]]
            contents = self._contents(owner, members)
            return [
                rule.classes_of(found or b"", name)
                for found, name in zip(contents, self._names(owner, places), strict=True)
            ]

        return self._by_shard(indices, visit)

    def labels(self, indices: Sequence[int]) -> list[int]:
        """The labels of these samples; only the members that hold them are read."""

        def visit(owner: int, places: Numbers) -> list[int]:
            layout = self._layout(owner)
            members = layout.label[places]
            kinds = [layout.index.extensions[kind] for kind in layout.index.extension[members].tolist()]
            contents = self._contents(owner, members)
            found = (None if held is None else (kind, held) for kind, held in zip(kinds, contents, strict=True))
            return [self._label(held, name)[0] for held, name in zip(found, self._names(owner, places), strict=True)]

        return self._by_shard(indices, visit)

    def lengths(self, indices: Sequence[int]) -> list[int]:
        """Bytes of their files, from the indexes."""

        def visit(owner: int, places: Numbers) -> list[int]:
            layout = self._layout(owner)
            return list(layout.index.length[layout.image[places]].tolist())

        return self._by_shard(indices, visit)

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        """Of their files as they lie in the shards; nothing is decoded."""
        return [digest_of(encoded.image) for encoded in self.encoded(indices)]

    def _contents(self, owner: int, members: Numbers) -> list[memoryview | None]:
        """What members of a shard hold; None for -1."""
        shard, index, known = self._shards[owner], self._layout(owner).index, members[members >= 0]
        spans = zip(index.offset[known].tolist(), index.length[known].tolist(), strict=True)
        contents = iter(self._access.of(shard).read(shard, list(spans)))
        return [next(contents) if member >= 0 else None for member in members.tolist()]

    def _names(self, owner: int, places: Numbers) -> list[str]:
        """What errors call samples of a shard."""
        return [_name(key, self._shards[owner].url) for key in self._layout(owner).keys(places)]

    def _by_shard(self, indices: Sequence[int], visit: Callable[[int, Numbers], list[Found]]) -> list[Found]:
        """What `visit` finds for the samples of each shard, by its number and their places in it; in the order of
        `indices`."""
        numbers = np.asarray(indices, np.int64)
        owners = np.searchsorted(self._ends, numbers, side="right")
        visits = [(int(owner), np.flatnonzero(owners == owner)) for owner in np.unique(owners)]

        def visited(one: tuple[int, Numbers]) -> list[Found]:
            owner, rows = one
            return visit(owner, numbers[rows] - self._start(owner))

        local = all(self._access.is_local(self._shards[owner]) for owner, _ in visits)
        results: Iterable[list[Found]] = map(visited, visits) if local else over_shards(visited, visits)
        found: dict[int, Found] = {}
        for (_, rows), samples in zip(visits, results, strict=True):
            found.update(zip(rows.tolist(), samples, strict=True))
        return [found[row] for row in range(len(numbers))]

    def _visit(self, owner: int, places: Numbers, videos: bool) -> list[Encoded]:
        """Some samples of one shard, by their places among its usable samples."""
        shard, layout = self._shards[owner], self._layout(owner)
        index, images, labels = layout.index, layout.image[places], layout.label[places]
        if videos:
            images = np.where(layout.video[places] >= 0, layout.video[places], images)
        labels = labels[labels >= 0]
        members = np.concatenate([images, labels])
        spans = list(zip(index.offset[members].tolist(), index.length[members].tolist(), strict=True))
        pieces = self._access.of(shard).read(shard, spans)
        kinds = [index.extensions[kind] for kind in index.extension[labels].tolist()]
        extensions = [index.extensions[kind] for kind in index.extension[images].tolist()]
        label = iter(zip(kinds, pieces[len(images) :], strict=True))
        has_label = (layout.label[places] >= 0).tolist()
        return [
            Encoded(key, shard.url, extension, image, next(label) if labeled else None)
            for key, extension, image, labeled in zip(
                layout.keys(places), extensions, pieces[: len(images)], has_label, strict=True
            )
        ]

    def _decoded(self, encoded: Encoded) -> Sample:
        name = _name(encoded.key, encoded.url)
        label, target = self._label(encoded.label, name)
        return Sample(encoded.key, decode_file(encoded.extension, encoded.image, name, self._shorter), label, target)

    def _clips(self, encoded: Encoded, clips: Clips) -> Sample:
        name = _name(encoded.key, encoded.url)
        if encoded.extension not in VIDEO_EXTENSIONS:
            raise DamageError(
                f"{name}: it is an image and input.clip asks for clips of videos; remove it, or unset that"
            )
        label, target = self._label(encoded.label, name)
        return Sample(encoded.key, decode_clips(encoded.image, name, clips), label, target)

    def _label(self, held: tuple[str, memoryview] | None, name: str) -> tuple[int, npt.NDArray[np.float32] | None]:
        """The label of a sample, and what was assigned to it."""
        rule, (extension, content) = self._labels, held or ("", b"")
        if extension == ASSIGNED:
            return read_assigned(bytes(content), name, rule.classes)
        label = parse_label(extension, bytes(content), name, rule.key) if extension else None
        return check_label(label, rule.classes, required=rule.required, name=name), None

    def _start(self, owner: int) -> int:
        return int(self._ends[owner]) - self._survey.counts[owner]

    def _layout(self, owner: int) -> Layout:
        layout = self._layout_of(owner)
        if len(layout) != self._survey.counts[owner]:
            raise DataError(
                f"{self._shards[owner].url} was changed while it was in use: it had {self._survey.counts[owner]:,} "
                f"samples and has {len(layout):,} now; start again"
            )
        return layout


def _name(key: str, url: str) -> str:
    """What errors call a sample."""
    return f"sample {key!r} in {url}"
