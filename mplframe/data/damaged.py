"""Samples that can't be used: counted, listed, and gone on without where the user allows it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar, final

from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import Clips, Damage, Media, Sample, Split
from mplframe.errors import DamageError, DataError, writing
from mplframe.io.files import lines_of, write_atomic

T = TypeVar("T")


class Damaged:
    """The list of what a run goes on without; safe to use from many threads.

    Args:
        limit: how many there may be.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._file: Path | None = None
        self._lock = threading.Lock()
        self._known: dict[tuple[str, Damage], None] = {}

    def keep(self, file: Path) -> None:
        """List them in a file from now on, one JSON object a line; what is listed there already counts too."""
        with self._lock:
            found = dict.fromkeys(_listed(file)) if file.exists() else {}
            self._file, self._known = file, {**found, **self._known}
            if self._known:
                text = "".join(map(_line, self._known))
                write_atomic(file, lambda stream: stream.write(text.encode()))

    @property
    def counts(self) -> dict[str, int]:
        """How many, by split."""
        return dict(Counter(split for split, _ in self._known))

    def add(self, split: str, found: Damage) -> None:
        """Note one; the same one is noted once.

        Raises:
            DataError: that is one too many.
        """
        with self._lock:
            if (split, found) in self._known:
                return
            if len(self._known) >= self.limit:
                raise DataError(self._too_many(found))
            self._known[split, found] = None
            if self._file is not None:
                with writing(self._file), self._file.open("a", encoding="utf-8") as file:
                    file.write(_line((split, found)))

    def _too_many(self, found: Damage) -> str:
        listed = f" (listed in {self._file})" if self._file is not None and self._known else ""
        before = f"; {len(self._known)} others were left out before{listed}" if self._known else ""
        return (
            f"{found.reason}{before}; input.max_damaged={self.limit} allows no more. `mplframe data verify` lists all "
            "that is wrong; mend the data, or set input.max_damaged to how many samples may be left out"
        )


def tolerant(split: Split, name: str, damaged: Damaged) -> Split:
    """A split that goes on without damaged samples as far as `damaged` allows.

    Args:
        split: what is read.
        name: of the split.
        damaged: the list, with its limit.

    Raises:
        DataError: more was found damaged when the split was opened than may be.
    """
    for found in split.damage:
        damaged.add(name, found)
    return TolerantSplit(split, name, damaged) if damaged.limit else split


def usable(split: Split, indices: Sequence[int], clips: Clips | None = None) -> list[tuple[int, Sample]]:
    """The samples with these numbers, each with its number; damaged ones that may be left out are.

    Args:
        split: where they come from.
        indices: their numbers.
        clips: what is wanted of each where they are videos.

    Raises:
        DataError: too many are damaged, or nothing can be read.
    """
    wanted = None if clips is None else [clips] * len(indices)
    if isinstance(split, TolerantSplit):
        return split.usable(indices, wanted)
    return list(zip(indices, _read(split, indices, wanted), strict=True))


def _read(split: Split, indices: Sequence[int], clips: Sequence[Clips] | None) -> list[Sample]:
    return split.read(indices) if clips is None else split.read_clips(indices, clips)


@final
class TolerantSplit(Split):
    """Reads around damaged samples: the next usable one by number stands in for each, always the same one."""

    def __init__(self, split: Split, name: str, damaged: Damaged) -> None:
        self._split, self._name, self._damaged = split, name, damaged

    @property
    def group_sizes(self) -> Sequence[int]:
        return self._split.group_sizes

    @property
    def group_names(self) -> Sequence[str]:
        return self._split.group_names

    @property
    def damage(self) -> Sequence[Damage]:
        return self._split.damage

    def key(self, index: int) -> str:
        return self._split.key(index)

    def labels(self, indices: Sequence[int]) -> list[int]:
        """As of the split; a sample whose label can't be read counts as damaged, and has none."""
        try:
            return self._split.labels(indices)
        except DamageError:
            return [self._noting(self._split.labels, index, UNKNOWN) for index in indices]

    def tags(self, indices: Sequence[int]) -> list[tuple[int, ...]] | None:
        """As of the split; a sample whose tags can't be read counts as damaged, and has none."""
        try:
            return self._split.tags(indices)
        except DamageError:
            return [self._noting(self._tags, index, ()) for index in indices]

    def _tags(self, indices: Sequence[int]) -> list[tuple[int, ...]]:
        found = self._split.tags(indices)
        assert found is not None, "some of the split has tags"
        return found

    def lengths(self, indices: Sequence[int]) -> list[int]:
        return self._split.lengths(indices)

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        return self._split.digests(indices)

    def expect(self, groups: Sequence[int]) -> None:
        self._split.expect(groups)

    def scaled(self, shorter: int) -> Split:
        return TolerantSplit(self._split.scaled(shorter), self._name, self._damaged)

    def read(self, indices: Sequence[int]) -> list[Sample]:
        """As many samples as numbers.

        Raises:
            DataError: too many are damaged, or nothing can be read.
        """
        return self._read(indices, None)

    @property
    def media(self) -> frozenset[Media]:
        return self._split.media

    def read_clips(self, indices: Sequence[int], clips: Sequence[Clips]) -> list[Sample]:
        """As `read`, of videos; what stands in for a sample gives the clips that were wanted of it."""
        return self._read(indices, clips)

    def usable(self, indices: Sequence[int], clips: Sequence[Clips] | None) -> list[tuple[int, Sample]]:
        """See the function of this name."""
        try:
            return list(zip(indices, _read(self._split, indices, clips), strict=True))
        except DamageError:
            found = [(index, self._one(index, wanted)) for index, wanted in _each(indices, clips)]
            return [(index, sample) for index, sample in found if sample is not None]

    def _read(self, indices: Sequence[int], clips: Sequence[Clips] | None) -> list[Sample]:
        try:
            return _read(self._split, indices, clips)
        except DamageError:
            return [self._stand_in(index, wanted) for index, wanted in _each(indices, clips)]

    def _stand_in(self, index: int, clips: Clips | None) -> Sample:
        for ahead in range(len(self)):
            if (sample := self._one((index + ahead) % len(self), clips)) is not None:
                return sample
        raise DataError(f"the {self._name} split has no sample that can be used; `mplframe data verify` lists why")

    def _one(self, index: int, clips: Clips | None) -> Sample | None:
        wanted = None if clips is None else [clips]
        return self._noting(lambda one: _read(self._split, one, wanted), index, None)

    def _noting(self, read: Callable[[Sequence[int]], Sequence[T]], index: int, otherwise: T) -> T:
        """What `read` finds for one sample, or something else where it is damaged, which is noted."""
        try:
            return read([index])[0]
        except DamageError as error:
            self._damaged.add(self._name, Damage(self._split.key(index), "", str(error)))
            return otherwise


def _each(indices: Sequence[int], clips: Sequence[Clips] | None) -> Iterator[tuple[int, Clips | None]]:
    return zip(indices, [None] * len(indices) if clips is None else clips, strict=True)


def _line(entry: tuple[str, Damage]) -> str:
    return json.dumps({"split": entry[0], **asdict(entry[1])}) + "\n"


def _listed(file: Path) -> Iterator[tuple[str, Damage]]:
    for line in lines_of(file.read_text(encoding="utf-8")):
        try:
            said = json.loads(line)
            yield said["split"], Damage(said["key"], said["where"], said["reason"])
        except (ValueError, KeyError, TypeError):
            continue  # torn when a run was killed; it is found again
