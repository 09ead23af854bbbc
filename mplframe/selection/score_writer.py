"""Writing scores, one shard at a time, each complete or not there at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from mplframe.errors import DataError
from mplframe.selection.score_batch import ScoreBatch, to_arrow
from mplframe.selection.score_reader import list_files, read_file
from mplframe.selection.scores import ScoreFormat, file_name
from mplframe.stores.location import locate


class ScoreWriter:
    """Writes scores into a folder; what another process, or an earlier one, has finished stays.

    Several processes may write into one folder, each its own shards. A process that is killed leaves nothing of the
    shard it was at, so that doing the `pending` shards again gives exactly what an undisturbed run gives.

    Args:
        url: the folder, on any store that fsspec knows; made where it is missing.
        form: of all scores in it.
        storage_options: what fsspec's driver takes.

    Raises:
        DataError: the folder holds scores of another format or teacher; says which settings differ.
    """

    def __init__(self, url: str, form: ScoreFormat, *, storage_options: Mapping[str, Any] | None = None) -> None:
        self.form = form
        self.folder = locate(url, storage_options)
        if there := list_files(self.folder):
            found, _ = read_file(self.folder.child(there[0]))
            if different := form.differences(found):
                raise DataError(
                    f"{self.folder.url} already holds scores with {different}; write to another folder, or remove it"
                )

    def pending(self, shards: Iterable[str]) -> list[str]:
        """Those of these shards that have no scores yet."""
        there = set(list_files(self.folder))
        return [shard for shard in shards if file_name(shard) not in there]

    @contextmanager
    def shard(self, shard: str) -> Iterator[ShardScores]:
        """Where the scores of a shard go; they are there once the block has ended well."""
        with self.folder.child(file_name(shard)).replacing() as stream, ShardScores(stream, self.form, shard) as scores:
            yield scores


class ShardScores:
    """The scores of one shard, written batch by batch. Made by `ScoreWriter.shard`."""

    def __init__(self, stream: Any, form: ScoreFormat, shard: str) -> None:
        self._form, self._shard, self._schema = form, shard, form.arrow_schema(shard)
        self._writer = pq.ParquetWriter(stream, self._schema, compression="zstd", use_dictionary=["shard"])
        self._last = -1

    def __enter__(self) -> ShardScores:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, batch: ScoreBatch) -> None:
        """Append images; their numbers ascend, within the batch and from batch to batch.

        Raises:
            DataError: the batch doesn't fit the format, or an image comes twice.
        """
        rows = to_arrow(batch, self._schema, self._form, self._shard)
        numbers = np.concatenate([[self._last], np.asarray(batch.index, np.int64)])
        if (np.diff(numbers) <= 0).any():
            at = int(np.flatnonzero(np.diff(numbers) <= 0)[0])
            raise DataError(
                f"{self._shard}: image {batch.keys[at]!r} has number {numbers[at + 1]} after {numbers[at]}; images of "
                "a shard are scored once each, in their order"
            )
        self._last = int(numbers[-1])
        self._writer.write_batch(rows)
