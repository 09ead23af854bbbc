"""Files of scores, written shard by shard and read as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mplframe.errors import DataError
from mplframe.io.location import Location, locate
from mplframe.selection.scores import ScoreBatch, ScoreFormat, file_name, read_format, to_arrow

_FOOTERS_AT_A_TIME = 16


@dataclass(frozen=True)
class ScoreFile:
    """The scores of one shard.

    Attributes:
        location: of the file.
        shard: whose scores they are.
        images: how many.
    """

    location: Location
    shard: str
    images: int


class ScoreFolder:
    """A folder that `ScoreWriter` wrote; opening it reads the metadata of every file.

    Attributes:
        form: the format of all files.
        files: sorted by shard.

    Args:
        url: the folder, on any store that fsspec knows.
        shards: whose scores to read, all of which must be there; None reads what there is.
        storage_options: what fsspec's driver takes.

    Raises:
        DataError: no scores there, files that don't belong together, one shard in two files, or shards without scores.
    """

    def __init__(
        self, url: str, *, shards: Iterable[str] | None = None, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = locate(url, storage_options)
        names = _wanted(self.folder, shards)
        with ThreadPoolExecutor(_FOOTERS_AT_A_TIME) as pool:
            found = list(pool.map(read_file, map(self.folder.child, names)))
        self.form = found[0][0]
        _check_alike(found)
        self.files: Sequence[ScoreFile] = sorted((file for _, file in found), key=lambda file: file.shard)
        _check_once(self.files)

    @property
    def images(self) -> int:
        """How many images are scored."""
        return sum(file.images for file in self.files)

    def batches(self, columns: Sequence[str], rows: int = 4096) -> Iterator[pa.RecordBatch]:
        """These columns of all images, in the order of shards and numbers, at most `rows` at a time."""
        for file in self.files:
            with file.location.reading(), file.location.fs.open(file.location.path, "rb") as stream:
                yield from pq.ParquetFile(stream).iter_batches(rows, columns=list(columns))


def list_files(folder: Location) -> list[str]:
    """Names of the finished files in a folder, sorted; none where there is no folder."""
    with folder.reading():
        if not folder.fs.isdir(folder.path):
            return []
        # What fsspec remembers of a store may be older than what another process has finished.
        folder.fs.invalidate_cache(folder.path)
        names = (path.rstrip("/").rpartition("/")[2] for path in folder.fs.ls(folder.path, detail=False))
        return sorted(name for name in names if name.endswith(".parquet") and not name.startswith("."))


def read_file(location: Location) -> tuple[ScoreFormat, ScoreFile]:
    """What a file's metadata say.

    Raises:
        DataError: it isn't a whole file of scores.
    """
    with location.reading(), location.fs.open(location.path, "rb") as stream:
        parquet = pq.ParquetFile(stream)
        form, shard = read_format(parquet.schema_arrow, location.url)
        return form, ScoreFile(location, shard, parquet.metadata.num_rows)


def _check_alike(found: Sequence[tuple[ScoreFormat, ScoreFile]]) -> None:
    form, first = found[0]
    for other, file in found:
        if different := form.differences(other):
            raise DataError(
                f"{file.location.url} has scores with {different} (in {first.location.url}); "
                "one folder holds scores of one teacher in one format: take out what doesn't belong"
            )


def _wanted(folder: Location, shards: Iterable[str] | None) -> list[str]:
    names = list_files(folder)
    if not names:
        raise DataError(f"{folder.url} holds no scores (*.parquet); make them: mplframe label --help")
    if shards is None:
        return names
    there, wanted = set(names), {file_name(shard): shard for shard in shards}
    missing = [shard for name, shard in wanted.items() if name not in there]
    if missing:
        raise DataError(
            f"{folder.url} lacks the scores of {len(missing)} of {len(wanted)} shards, of {missing[0]} for one; "
            "run `mplframe label` again: it goes on where it stopped"
        )
    return list(wanted)


def _check_once(files: Sequence[ScoreFile]) -> None:
    for one, other in pairwise(files):
        if one.shard == other.shard:
            raise DataError(
                f"{one.location.url} and {other.location.url} both hold the scores of {one.shard}; remove one of them"
            )


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
