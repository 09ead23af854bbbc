"""Manifests: which samples of a split, how often, and what each is to be taken for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import Clips, Damage, Media, Sample, Split
from mplframe.data.readers.base import digest
from mplframe.data.readers.files import STORES
from mplframe.data.shards.members import one_hot
from mplframe.errors import DataError
from mplframe.io.stores import explained


class ChosenSplit(Split):
    """Some samples of a split.

    Args:
        split: where they come from.
        numbers: [M] int64, their numbers in `split`, ascending; one that comes several times counts several times.
    """

    def __init__(self, split: Split, numbers: npt.NDArray[np.int64]) -> None:
        if np.any(np.diff(numbers) < 0):
            raise ValueError("numbers must ascend")
        self._split, self._numbers = split, numbers
        owners = np.searchsorted(np.cumsum(split.group_sizes), numbers, side="right")
        self._owners, self._sizes = np.unique(owners, return_counts=True)

    @property
    def group_sizes(self) -> Sequence[int]:
        """Chosen samples in each group of the split that has any."""
        return list(self._sizes.tolist())

    @property
    def group_names(self) -> Sequence[str]:
        names = self._split.group_names
        return [names[owner] for owner in self._owners.tolist()]

    @property
    def media(self) -> frozenset[Media]:
        return self._split.media

    @property
    def damage(self) -> Sequence[Damage]:
        return self._split.damage

    def key(self, index: int) -> str:
        return self._split.key(int(self._numbers[index]))

    def labels(self, indices: Sequence[int]) -> list[int]:
        return self._split.labels(self._numbers[list(indices)].tolist())

    def tags(self, indices: Sequence[int]) -> list[tuple[int, ...]] | None:
        return self._split.tags(self._numbers[list(indices)].tolist())

    def lengths(self, indices: Sequence[int]) -> list[int]:
        return self._split.lengths(self._numbers[list(indices)].tolist())

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        return self._split.digests(self._numbers[list(indices)].tolist())

    def without(self, numbers: npt.NDArray[np.int64]) -> ChosenSplit:
        """The same without those that have these numbers in the split that they come from."""
        kept = np.flatnonzero(~np.isin(self._numbers, numbers))
        return self if len(kept) == len(self._numbers) else ChosenSplit(self, kept)

    def expect(self, groups: Sequence[int]) -> None:
        self._split.expect(self._owners[list(groups)].tolist())

    def scaled(self, shorter: int) -> Split:
        return ChosenSplit(self._split.scaled(shorter), self._numbers)

    def read(self, indices: Sequence[int]) -> list[Sample]:
        return self._split.read(self._numbers[list(indices)].tolist())

    def read_clips(self, indices: Sequence[int], clips: Sequence[Clips]) -> list[Sample]:
        return self._split.read_clips(self._numbers[list(indices)].tolist(), clips)


def check_key(found: str, chosen: str, shard: str = "") -> None:
    """See that a sample is the one that was chosen.

    Args:
        found: its key.
        chosen: the key of the one that lay there.
        shard: where; empty where that isn't known.

    Raises:
        DataError: it is another one.
    """
    if found != chosen:
        where = f"{shard}: " if shard else ""
        raise DataError(
            f"{where}sample {found!r} lies where {chosen!r} was when it was chosen: the shards have changed since; "
            "label and select again"
        )


@final
class AssignedSplit(ChosenSplit):
    """Chosen samples of a split, each with what it is to be taken for.

    Args:
        split: where they come from.
        numbers: [M] int64, the chosen samples by their number in `split`, ascending; one that is chosen several times
            counts several times.
        targets: [M] class indices, or [M, C] probabilities of any float type.
        classes: C.
        keys: [M] of the chosen samples; where given, reading a sample with another key is an error.
    """

    def __init__(
        self,
        split: Split,
        numbers: npt.NDArray[np.int64],
        targets: npt.NDArray[Any],
        *,
        classes: int,
        keys: pa.LargeStringArray | None = None,
    ) -> None:
        if len(numbers) != len(targets):
            raise ValueError(f"{len(numbers)} samples are chosen but {len(targets)} targets given")
        super().__init__(split, numbers)
        self._targets, self._classes, self._keys = targets, classes, keys

    def scaled(self, shorter: int) -> Split:
        scaled = self._split.scaled(shorter)
        return AssignedSplit(scaled, self._numbers, self._targets, classes=self._classes, keys=self._keys)

    def read(self, indices: Sequence[int]) -> list[Sample]:
        """The chosen samples with these numbers, in this order, with their targets.

        Raises:
            DataError: a sample isn't the one that was chosen.
        """
        samples = super().read(indices)
        return [self._assigned(sample, i) for sample, i in zip(samples, indices, strict=True)]

    def read_clips(self, indices: Sequence[int], clips: Sequence[Clips]) -> list[Sample]:
        """As `read`, of videos."""
        samples = super().read_clips(indices, clips)
        return [self._assigned(sample, i) for sample, i in zip(samples, indices, strict=True)]

    def check_keys(self) -> None:
        """See that the samples are those that were chosen; none is read.

        Raises:
            DataError: one isn't.
        """
        for index in range(len(self)):
            self._check(self.key(index), index)

    def _check(self, key: str, index: int) -> None:
        if self._keys is not None:
            check_key(key, self._keys[index].as_py())

    def _assigned(self, sample: Sample, index: int) -> Sample:
        self._check(sample.key, index)
        found = self._targets[index]
        soft = self._targets.ndim == 2
        return replace(sample, target=np.asarray(found, np.float32) if soft else one_hot(int(found), self._classes))


_COLUMNS = ("key", "shard", "index", "label", "probability", "rank", "repeat")
_OPTIONAL = ("truth", "distribution")
_REMEDY = "make one: mplframe select --help"

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Assignment:
    """The M rows of a manifest.

    Attributes:
        where: the manifest.
        shards: that have samples in it.
        owner: [M] the shard of each, as a number in `shards`.
        index: [M] the number of the sample within its shard.
        keys: [M] of the samples.
        label: [M] class indices.
        probability: [M] float32 of that class, NaN where it isn't known.
        rank: [M] place among the samples of the class, from 0.
        repeat: [M] how often the sample is seen in an epoch.
        truth: [M] true classes, `UNKNOWN` where they aren't known.
        distribution: [M, C] probabilities, float16 or float32; None where samples are taken for their class alone.
        classes: C.
    """

    where: str
    shards: tuple[str, ...]
    owner: Numbers
    index: Numbers
    keys: pa.LargeStringArray
    label: Numbers
    probability: npt.NDArray[np.float32]
    rank: Numbers
    repeat: Numbers
    truth: Numbers
    distribution: npt.NDArray[np.floating[npt.NBitBase]] | None
    classes: int

    @cached_property
    def digest(self) -> str:
        """What differs where samples or what they are taken for do."""
        soft = () if self.distribution is None else (self.distribution,)
        return digest(*self.shards, self.owner, self.index, self.label, self.repeat, *soft)


def read_assignment(url: str) -> Assignment:
    """Read a manifest, such as `mplframe select` writes.

    Args:
        url: of the Parquet file, on any store.

    Raises:
        DataError: it isn't there, isn't a manifest, or names nothing.
        StoreError: the store can't be reached.
    """
    table = _table(url)
    if missing := [name for name in _COLUMNS if name not in table.column_names]:
        raise DataError(f"{url} is no manifest: it has no column {missing[0]!r}; {_REMEDY}")
    if not len(table):
        raise DataError(f"{url} names no sample; select with looser settings")
    shards = _dictionary(table.column("shard"))
    numbers = {name: _numbers(table, name) for name in ("index", "label", "rank", "repeat")}
    if numbers["repeat"].min() < 1:
        raise DataError(f"{url}: repeat is {numbers['repeat'].min()} in a row; a sample is seen once at least")
    found = Assignment(
        where=url,
        shards=tuple(shards.dictionary.to_pylist()),
        owner=shards.indices.to_numpy().astype(np.int64),
        keys=table.column("key").cast(pa.large_string()).combine_chunks(),
        probability=table.column("probability").to_numpy().astype(np.float32),
        truth=_numbers(table, "truth") if "truth" in table.column_names else np.full(len(table), UNKNOWN),
        distribution=_rows(table.column("distribution")) if "distribution" in table.column_names else None,
        classes=_classes(table.schema.metadata) or int(numbers["label"].max()) + 1,
        **numbers,
    )
    _check_classes(found, found.classes)
    return found


def assigned_split(split: Split, assignment: Assignment, classes: int) -> AssignedSplit:
    """The samples of a split that a manifest names, each as often as it says, taken for what it says.

    Args:
        split: that was scored.
        assignment: the manifest.
        classes: C.

    Raises:
        DataError: it names shards, samples or classes that there aren't.
    """
    given, where = assignment, assignment.where
    _check_classes(given, classes)
    sizes = np.asarray(split.group_sizes)
    place = {name: i for i, name in enumerate(split.group_names)}
    if strangers := [name for name in given.shards if name not in place]:
        raise DataError(f"{where} names the shard {strangers[0]}, which the unlabeled data don't have; label again")
    groups = np.array([place[name] for name in given.shards], np.int64)[given.owner]
    if np.any((given.index < 0) | (given.index >= sizes[groups])):
        raise DataError(f"{where} names samples that the unlabeled data don't have; label again")
    numbers = (np.cumsum(sizes) - sizes)[groups] + given.index
    order = np.argsort(numbers, kind="stable")
    order = np.repeat(order, given.repeat[order])
    targets = given.label if given.distribution is None else given.distribution
    return AssignedSplit(split, numbers[order], targets[order], classes=classes, keys=given.keys.take(pa.array(order)))


def _classes(metadata: Mapping[bytes, bytes] | None) -> int:
    """How many classes the teacher knows; 0 where the manifest was made by others and doesn't say."""
    said = json.loads((metadata or {}).get(b"mplframe.manifest", b"{}"))
    return int(said.get("scores", {}).get("classes", 0))


def _check_classes(given: Assignment, classes: int) -> None:
    if given.label.min() < 0 or given.label.max() >= classes:
        raise DataError(
            f"{given.where} assigns the classes {given.label.min()} to {given.label.max()}, but there are {classes}, "
            "from 0; label again"
        )
    if given.distribution is not None and given.distribution.shape[1] != classes:
        raise DataError(
            f"{given.where} has probabilities of {given.distribution.shape[1]} classes, but there are {classes}; "
            "label again"
        )


def _table(url: str) -> pa.Table:
    with explained(url):
        path = STORES.local_path(url)
        try:
            with pq.ParquetFile(path if path is not None else pa.BufferReader(STORES.read(url))) as file:
                wanted = [name for name in (*_COLUMNS, *_OPTIONAL) if name in file.schema_arrow.names]
                return file.read(columns=wanted)
        except pa.ArrowInvalid as error:
            raise DataError(f"{url} is no manifest ({error}); {_REMEDY}") from error


def _numbers(table: pa.Table, name: str) -> Numbers:
    found: Numbers = pc.fill_null(table.column(name), UNKNOWN).to_numpy().astype(np.int64)
    return found


def _dictionary(column: pa.ChunkedArray) -> pa.DictionaryArray:
    found = pc.dictionary_encode(column.cast(pa.string())) if not pa.types.is_dictionary(column.type) else column
    return found.unify_dictionaries().combine_chunks()


def _rows(column: pa.ChunkedArray) -> npt.NDArray[np.floating[npt.NBitBase]]:
    flat = pa.concat_arrays(column.chunks).flatten()
    found: npt.NDArray[np.floating[npt.NBitBase]] = flat.to_numpy(zero_copy_only=False).reshape(len(column), -1)
    return found
