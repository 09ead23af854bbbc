"""The unlabeled samples that a manifest names, fed like a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mplframe.contracts.data import Split
from mplframe.data.assigned import AssignedSplit
from mplframe.errors import DataError


def assigned_split(split: Split, manifest: Path, classes: int) -> AssignedSplit:
    """The samples of a manifest, each as often as it says, with its distribution where there is one, else its class.

    Args:
        split: that was scored.
        manifest: see `mplframe.selection.manifest`.
        classes: C.

    Raises:
        DataError: it names shards or samples that the split doesn't have.
    """
    table = pq.read_table(manifest)
    numbers = _numbers(table, split, manifest)
    repeat = table.column("repeat").to_numpy()
    if "distribution" in table.column_names:
        flat = pa.concat_arrays(table.column("distribution").chunks).flatten()
        targets = flat.to_numpy(zero_copy_only=False).reshape(len(table), classes)
    else:
        targets = table.column("label").to_numpy()
    order = np.argsort(numbers, kind="stable")
    order = np.repeat(order, repeat[order])
    return AssignedSplit(split, numbers[order], targets[order], classes=classes)


def _numbers(table: pa.Table, split: Split, manifest: Path) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """[rows] of each row, the number of its sample in the split."""
    sizes = np.asarray(split.group_sizes)
    place = {name: i for i, name in enumerate(split.group_names)}
    shards = table.column("shard").combine_chunks()
    if isinstance(shards, pa.ChunkedArray):
        shards = shards.chunk(0)
    known = shards.dictionary.to_pylist()
    if strangers := [name for name in known if name not in place]:
        raise DataError(f"{manifest} names the shard {strangers[0]}, which the unlabeled data don't have; label again")
    groups = np.array([place[name] for name in known], np.int64)[shards.indices.to_numpy()]
    index = table.column("index").to_numpy()
    if np.any(index >= sizes[groups]):
        raise DataError(f"{manifest} names samples that the unlabeled data don't have; label again")
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = (np.cumsum(sizes) - sizes)[groups] + index
    return found
