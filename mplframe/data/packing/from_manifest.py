"""What a manifest names, wherever it lies, to be packed into shards of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import final

import numpy as np

from mplframe.data.manifests import Assignment, check_key
from mplframe.data.readers.base import Labels, Reader, Record, digest
from mplframe.data.readers.shards import ShardFiles
from mplframe.data.shards.members import ASSIGNED, write_assigned
from mplframe.data.shards.survey import lay_out
from mplframe.errors import DataError


@final
class ManifestReader(Reader):
    """The samples of a manifest, each as often as it says, with the class that it says.

    Image files and what lies beside them are kept as they are, without the label; what was assigned lies beside them
    in `.assigned.json`.

    Args:
        assignment: the manifest; its shards are opened.
        classes: class names in index order.

    Raises:
        DataError: a shard is missing, or isn't the one that was scored.
        UserError: a store can't be reached.
    """

    def __init__(self, assignment: Assignment, classes: Sequence[str]) -> None:
        self._assignment, self._classes = assignment, tuple(classes)
        self._files = ShardFiles(assignment.shards)
        self._rows = np.repeat(np.arange(len(assignment.owner)), assignment.repeat)
        # Images are numbered as the split that was scored numbers them: without what can't be used.
        self._samples = [
            lay_out(index, shard.url, labels_required=False)[0].samples
            for shard, index in zip(self._files.shards, self._files.indexes, strict=True)
        ]
        sizes = np.array([len(samples) for samples in self._samples])
        if np.any((assignment.index < 0) | (assignment.index >= sizes[assignment.owner])):
            raise DataError(f"{assignment.where} names samples that its shards don't have; label and select again")

    @property
    def classes(self) -> Sequence[str]:
        return self._classes

    @property
    def labels(self) -> Labels:
        return self._assignment.label[self._rows]

    @cached_property
    def groups(self) -> Labels:
        """The shards."""
        return np.unique(self._assignment.owner, return_inverse=True)[1][self._rows]

    @cached_property
    def digest(self) -> str:
        return digest(self._assignment.digest, repr(self._classes), *self._files.identity)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: int) -> Record:
        given, row = self._assignment, int(self._rows[index])
        shard, number = int(given.owner[row]), int(given.index[row])
        record = self._files.record(shard, int(self._samples[shard][number]), int(given.label[row]))
        check_key(record.key, given.keys[row].as_py(), given.shards[shard])
        probability = float(given.probability[row])
        assigned = write_assigned(
            int(given.label[row]),
            truth=int(given.truth[row]),
            probabilities=None if given.distribution is None else given.distribution[row],
            probability=None if np.isnan(probability) else probability,
            rank=int(given.rank[row]),
            key=record.key,
            shard=given.shards[shard],
            index=number,
        )
        return replace(record, others={**record.others, ASSIGNED: assigned})

    def origin(self, index: int) -> tuple[str, str]:
        row = int(self._rows[index])
        return self._assignment.shards[self._assignment.owner[row]], self._assignment.keys[row].as_py()
