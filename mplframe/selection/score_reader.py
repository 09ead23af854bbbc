"""Reading a folder of scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mplframe.errors import DataError
from mplframe.selection.scores import ScoreFormat, file_name, read_format
from mplframe.stores.location import Location, locate

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
