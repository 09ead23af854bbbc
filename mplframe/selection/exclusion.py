"""Lists of images that can't be selected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mplframe.errors import DataError
from mplframe.selection.engine import Engine
from mplframe.stores.location import Location, locate

_ROWS = 100_000
_TYPES = {"key": pa.string(), "shard": pa.string(), "index": pa.int64()}


def load_exclusions(
    engine: Engine, lists: Mapping[str, str], storage_options: Mapping[str, Any] | None = None
) -> dict[str, int]:
    """Make the tables `excluded_keys` (key, rule) and `excluded_places` (shard, index, rule), each image once.

    `rule` is the number of the first list that names the image.

    Args:
        engine: where to.
        lists: URL of each list, by its name: a text file with one key a line, or Parquet with a column `key`, or with
            `shard` and `index`, which then are what counts.
        storage_options: what fsspec's driver takes.

    Returns:
        How many images each list names.

    Raises:
        DataError: a list can't be read, or has none of these columns.
    """
    engine.run("create temp table listed_keys (key varchar, rule int)")
    engine.run('create temp table listed_places (shard varchar, "index" bigint, rule int)')
    counts = {}
    for rule, (name, url) in enumerate(lists.items()):
        location = locate(url, storage_options)
        counts[name] = 0
        with location.reading():
            for rows in _read(location, name):
                numbered = rows.append_column("rule", pa.array([rule] * len(rows), pa.int32()))
                engine.insert("listed_places" if "shard" in rows.schema.names else "listed_keys", numbered)
                counts[name] += len(rows)
    engine.run("create temp table excluded_keys as select key, min(rule) as rule from listed_keys group by key")
    engine.run(
        'create temp table excluded_places as select shard, "index", min(rule) as rule from listed_places group by all'
    )
    return counts


def _read(location: Location, name: str) -> Iterator[pa.Table]:
    with location.fs.open(location.path, "rb") as stream:
        if not location.path.endswith(".parquet"):
            lines = stream.read().decode().splitlines()
            yield pa.table({"key": pa.array([line for line in lines if line], pa.string())})
            return
        parquet = pq.ParquetFile(stream)
        columns = _columns(parquet.schema_arrow.names, location, name)
        for batch in parquet.iter_batches(_ROWS, columns=columns):
            rows = pa.Table.from_batches([batch]).select(columns)
            yield rows.cast(pa.schema([(column, _TYPES[column]) for column in columns]))


def _columns(found: list[str], location: Location, name: str) -> list[str]:
    for columns in (["shard", "index"], ["key"]):
        if set(columns) <= set(found):
            return columns
    raise DataError(
        f"exclude.{name}: {location.url} has the columns {', '.join(found)}; a list has key, or shard and index"
    )
