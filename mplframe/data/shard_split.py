"""A split that lies in tar shards on the local disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mplframe.contracts.data import Sample, Split
from mplframe.data.decode import IMAGE_EXTENSIONS, decode
from mplframe.data.index import ShardIndex
from mplframe.data.index_cache import cached_index
from mplframe.data.labels import LABEL_EXTENSIONS, check_label, parse_label
from mplframe.data.memory import Memory
from mplframe.errors import DataError


@dataclass(frozen=True)
class Shard:
    """One shard: the URL it came from, its local file with size (bytes) and time of change (ns), and its index."""

    url: str
    path: Path
    size: int
    changed: int
    index: ShardIndex

    @classmethod
    def open(cls, url: str, path: Path, cache: Path) -> Shard:
        """Index a local file, or take its kept index.

        Raises:
            DataError: the shard is damaged; see `index_shard`.
        """
        found = path.stat()
        return cls(url, path, found.st_size, found.st_mtime_ns, cached_index(path, cache))

    def name(self, sample: int) -> str:
        """How errors call a sample."""
        return f"sample {self.index.key(sample)!r} in {self.url}"


class ShardSplit(Split):
    """Reads samples by their place in the shards; threads share nothing but the memory of decoded samples.

    Args:
        shards: in a stable order.
        classes: names, in index order.
        labels_required: refuse samples without a label.
        memory_bytes: bound of the decoded samples that are kept.

    Raises:
        DataError: a sample has no image, or no label though one is required.
    """

    def __init__(
        self, shards: Sequence[Shard], classes: Sequence[str], *, labels_required: bool, memory_bytes: int
    ) -> None:
        for shard in shards:
            _require(shard, IMAGE_EXTENSIONS, "an image")
            if labels_required:
                _require(shard, LABEL_EXTENSIONS, "a label")
        self._shards = shards
        self._classes, self._labels_required = classes, labels_required
        self._memory = Memory(memory_bytes)
        self._sizes = [len(shard.index) for shard in shards]
        self._ends = np.cumsum(self._sizes)

    @property
    def group_sizes(self) -> Sequence[int]:
        """Samples in each shard."""
        return self._sizes

    def read(self, indices: Sequence[int]) -> list[Sample]:
        """The samples with these numbers, in this order; shards are read front to back."""
        found = {i: sample for i in set(indices) if (sample := self._memory.get(i)) is not None}
        missing = np.array(sorted(set(indices) - found.keys()), np.int64)
        owners = np.searchsorted(self._ends, missing, side="right")
        for owner in np.unique(owners):
            numbers = missing[owners == owner]
            places = numbers - (self._ends[owner] - self._sizes[owner])
            samples = self._read_shard(self._shards[owner], places.tolist())
            found.update(zip(numbers.tolist(), samples, strict=True))
        for i in missing.tolist():
            self._memory.offer(i, found[i])
        return [found[i] for i in indices]

    def _read_shard(self, shard: Shard, samples: Sequence[int]) -> list[Sample]:
        try:
            file = os.open(shard.path, os.O_RDONLY)
        except OSError as error:
            raise DataError(
                f"{shard.path} ({shard.url}) can't be read any more: {error.strerror}; start again"
            ) from error
        try:
            now = os.fstat(file)
            if (now.st_size, now.st_mtime_ns) != (shard.size, shard.changed):
                raise DataError(f"{shard.path} ({shard.url}) was changed while it was in use; start again")
            return [self._sample(shard, i, file) for i in samples]
        finally:
            os.close(file)

    def _sample(self, shard: Shard, sample: int, file: int) -> Sample:
        name = shard.name(sample)
        content = shard.index.members(sample)
        image = next(content[ext] for ext in IMAGE_EXTENSIONS if ext in content)
        label: int | str | None = None
        for extension in LABEL_EXTENSIONS:
            if extension in content and label is None:
                label = parse_label(extension, _read(file, content[extension], name), name)
        number = check_label(label, self._classes, required=self._labels_required, name=name)
        return Sample(shard.index.key(sample), decode(_read(file, image, name), name), number)


def _read(file: int, place: tuple[int, int], name: str) -> bytes:
    offset, length = place
    data = os.pread(file, length, offset)
    if len(data) != length:
        raise DataError(f"{name}: {len(data)} of {length} bytes could be read; the shard is damaged, fetch it again")
    return data


def _require(shard: Shard, extensions: Sequence[str], what: str) -> None:
    lacking = np.flatnonzero(~shard.index.having(extensions))
    if len(lacking):
        first = int(lacking[0])
        has = ", ".join(f".{extension}" for extension in shard.index.members(first))
        raise DataError(
            f"{shard.name(first)} (and {len(lacking) - 1} more in it) lacks {what}: it has {has}, allowed are "
            f"{', '.join('.' + extension for extension in extensions)}; an extension begins at the first dot of a name"
        )
