"""A division of samples as lists of their keys, which leaves the shards as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mplframe.data.packing.packing import MARKER
from mplframe.data.packing.partition import Parts
from mplframe.io.output import new_folder

SCHEMA = pa.schema([("key", pa.string()), ("shard", pa.string()), ("label", pa.int64())])


def write_manifest(
    out: Path | str, parts: Parts, *, source: Mapping[str, Any], overwrite: bool = False
) -> dict[str, int]:
    """Write `labeled.parquet`, `unlabeled.parquet` and `test.parquet`, each with the columns key, shard (its URL) and
    label (-1 where there is none), and `dataset.json`.

    Args:
        out: the folder to make.
        parts: readers of shards.
        source: what was divided and how.
        overwrite: replace what is there.

    Returns:
        How many samples each has.

    Raises:
        UserError: `out` can't be written.
    """
    readers = {"labeled": parts.labeled, "unlabeled": parts.unlabeled, "test": parts.test}
    counts: dict[str, int] = {}
    with new_folder(Path(out), marker=MARKER, overwrite=overwrite) as output:
        for name, reader in readers.items():
            if reader is None:
                continue
            shards, keys = zip(*(reader.origin(i) for i in range(len(reader))), strict=True)
            table = pa.table({"key": keys, "shard": shards, "label": reader.labels}, SCHEMA)
            pq.write_table(table, output.folder / f"{name}.parquet")
            counts[name] = len(reader)
        description = {"manifest": 1, "samples": counts, "source": dict(source)}
        (output.folder / MARKER).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return counts
