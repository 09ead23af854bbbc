"""Distributions for soft pseudo labels, from the scores into the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mplframe.selection.score_reader import ScoreFile, ScoreFolder


def with_distribution(rows: Iterable[pa.RecordBatch], scores: ScoreFolder) -> Iterator[pa.RecordBatch]:
    """The same rows with the column `distribution`; one shard's distributions are in memory at a time.

    Args:
        rows: sorted by `shard`, with `index`.
        scores: of these shards.
    """
    files = {file.shard: file for file in scores.files}
    current, table = None, pa.table({})
    for batch in rows:
        shards = batch.column("shard").to_numpy(zero_copy_only=False)
        starts = [0, *(np.flatnonzero(shards[1:] != shards[:-1]) + 1), len(shards)]
        for start, stop in pairwise(starts):
            part = batch.slice(start, stop - start)
            if shards[start] != current:
                current = shards[start]
                table = _read(files[current])
            places = np.searchsorted(table["index"].to_numpy(), part.column("index").to_numpy())
            found = table["distribution"].take(pa.array(places)).combine_chunks()
            yield part.append_column("distribution", found)


def _read(file: ScoreFile) -> pa.Table:
    with file.location.reading(), file.location.fs.open(file.location.path, "rb") as stream:
        return pq.read_table(stream, columns=["index", "distribution"])
