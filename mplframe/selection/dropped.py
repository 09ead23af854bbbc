"""The list of images that weren't selected: Parquet with `key`, `shard`, `index` and `rule`, by shard and number."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from mplframe.selection.config import SelectionConfig
from mplframe.selection.engine import Engine
from mplframe.selection.report import Report
from mplframe.stores.location import Location

_ROWS = 100_000
_SCHEMA = pa.schema(
    {
        "key": pa.string(),
        "shard": pa.dictionary(pa.int32(), pa.string()),
        "index": pa.int64(),
        "rule": pa.dictionary(pa.int32(), pa.string()),
    }
)


def write_dropped(
    engine: Engine, location: Location, rules: Sequence[str], config: SelectionConfig, report: Report
) -> None:
    """Write the list.

    Args:
        engine: has the view `images` and the table `selected`.
        location: where to.
        rules: the names of the rules in force, by number.
        config: of the selection.
        report: of the selection; the list must agree with it.
    """
    names = [*rules, config.limit or ""]
    rows = engine.batches(
        f"""
        select key, shard, "index", coalesce(rule, {len(rules)})::int as rule
        from images anti join selected using (shard, "index") order by shard, "index"
        """,
        _ROWS,
    )
    counts = dict.fromkeys(report.dropped, 0)
    with location.replacing() as stream, pq.ParquetWriter(stream, _SCHEMA, compression="zstd") as writer:
        for batch in rows:
            table = pa.Table.from_batches([batch])
            numbers = table["rule"].combine_chunks()
            for rule in numbers.value_counts().to_pylist():
                counts[names[rule["values"]]] += rule["counts"]
            named = pa.DictionaryArray.from_arrays(numbers, pa.array(names))
            writer.write_table(table.set_column(3, "rule", named).cast(_SCHEMA))
        assert counts == report.dropped, f"listed {counts}, counted {report.dropped}"
