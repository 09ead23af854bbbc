"""A split that lies in tar shards."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mplframe.contracts.data import Damage, Sample, Split
from mplframe.data.access import Access
from mplframe.data.decode import decode
from mplframe.data.labels import check_label, parse_label
from mplframe.data.layout import Layout
from mplframe.data.memory import Memory
from mplframe.data.parallel import over_shards
from mplframe.data.shard_list import Shard
from mplframe.data.survey import Survey
from mplframe.errors import DataError

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelRule:
    """How labels are read.

    Attributes:
        classes: names, in index order.
        required: refuse samples without a label.
        key: of the label in a `.json`.
    """

    classes: Sequence[str]
    required: bool
    key: str = "label"


class Encoded(NamedTuple):
    """A sample as it lies in its shard.

    Attributes:
        key: its name within the shard.
        url: of the shard.
        image: the image file.
        label: extension and content of the member that holds the label.
    """

    key: str
    url: str
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

    def encoded(self, indices: Sequence[int]) -> list[Encoded]:
        """The samples with these numbers, in this order, as they lie in their shards.

        Raises:
            DataError: a shard is gone, or was changed since it was listed.
            StoreError: a shard can't be read.
        """
        numbers = np.asarray(indices, np.int64)
        owners = np.searchsorted(self._ends, numbers, side="right")
        visits = [(int(owner), np.flatnonzero(owners == owner)) for owner in np.unique(owners)]

        def visit(one: tuple[int, Numbers]) -> list[Encoded]:
            owner, rows = one
            return self._visit(owner, numbers[rows] - self._start(owner))

        local = all(self._access.is_local(self._shards[owner]) for owner, _ in visits)
        visited: Iterable[list[Encoded]] = map(visit, visits) if local else over_shards(visit, visits)
        found: dict[int, Encoded] = {}
        for (_, rows), samples in zip(visits, visited, strict=True):
            found.update(zip(rows.tolist(), samples, strict=True))
        return [found[row] for row in range(len(numbers))]

    def _visit(self, owner: int, places: Numbers) -> list[Encoded]:
        """Some samples of one shard, by their places among its usable samples."""
        shard, layout = self._shards[owner], self._layout(owner)
        index, images, labels = layout.index, layout.image[places], layout.label[places]
        labels = labels[labels >= 0]
        members = np.concatenate([images, labels])
        spans = list(zip(index.offset[members].tolist(), index.length[members].tolist(), strict=True))
        pieces = self._access.of(shard).read(shard, spans)
        kinds = [index.extensions[kind] for kind in index.extension[labels].tolist()]
        label = iter(zip(kinds, pieces[len(images) :], strict=True))
        has_label = (layout.label[places] >= 0).tolist()
        return [
            Encoded(key, shard.url, image, next(label) if labeled else None)
            for key, image, labeled in zip(layout.keys(places), pieces[: len(images)], has_label, strict=True)
        ]

    def _decoded(self, encoded: Encoded) -> Sample:
        name = f"sample {encoded.key!r} in {encoded.url}"
        label = None
        if encoded.label is not None:
            extension, content = encoded.label
            label = parse_label(extension, bytes(content), name, self._labels.key)
        number = check_label(label, self._labels.classes, required=self._labels.required, name=name)
        return Sample(encoded.key, decode(encoded.image, name, self._shorter), number)

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
