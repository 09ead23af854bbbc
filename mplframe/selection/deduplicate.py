"""Unlabeled images that are copies of test images (Billion-scale SSL, supplement 5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mplframe.errors import DataError
from mplframe.selection.config import DeduplicationConfig
from mplframe.selection.neighbours import Neighbours
from mplframe.selection.score_reader import ScoreFolder
from mplframe.stores.location import Location

PAIRS = pa.schema(
    {
        "key": pa.string(),
        "shard": pa.string(),
        "index": pa.int64(),
        "similarity": pa.float32(),
        "test_key": pa.string(),
        "test_shard": pa.string(),
        "test_index": pa.int64(),
    }
)
"""An unlabeled image and the test image that is closest to it; similarity is the cosine of their embeddings."""

_ORDER = [("similarity", "descending"), ("shard", "ascending"), ("index", "ascending")]


def closest_pairs(
    base: ScoreFolder, test: ScoreFolder, config: DeduplicationConfig | None = None, *, threads: int = 1
) -> pa.Table:
    """Hold every unlabeled image against all test images, exactly.

    Memory is that of the test embeddings and of the pairs that are returned; the unlabeled images stream by.

    Args:
        base: scores of the unlabeled images, with embeddings.
        test: scores of the test images, with embeddings by the same teacher.
        config: which pairs are copies, and how many more to list.
        threads: of the search.

    Returns:
        `PAIRS`, the most similar first: all that are copies, and at least the `closest`. An image is in one pair.

    Raises:
        DataError: embeddings are missing, or don't fit together.
        UserError: faiss isn't installed.
    """
    config = config or DeduplicationConfig()
    _check(base, test)
    places, vectors = _all_embeddings(test)
    neighbours = Neighbours(vectors, threads=threads)
    parts, held = [PAIRS.empty_table()], 0
    for batch in base.batches(["key", "shard", "index", "embedding"], config.batch):
        parts.append(_pairs(batch, neighbours, places))
        held += len(batch)
        if held > 4 * config.closest + 4 * config.batch:
            parts, held = [_best(parts, config)], 0
    return _best(parts, config)


def merge_pairs(parts: Sequence[pa.Table], config: DeduplicationConfig | None = None) -> pa.Table:
    """The pairs of all parts of the unlabeled images, from the pairs of each."""
    return _best(parts, config or DeduplicationConfig())


def copies(pairs: pa.Table, config: DeduplicationConfig | None = None) -> pa.Table:
    """The images to leave out: those of the pairs from the threshold up. A list for `exclude`, once it is written."""
    threshold = np.float32((config or DeduplicationConfig()).threshold)
    return pairs.filter(pc.greater_equal(pairs["similarity"], pa.scalar(threshold, pa.float32())))


def write_pairs(pairs: pa.Table, location: Location) -> None:
    """Write pairs as Parquet, which appears once it is complete."""
    with location.replacing() as stream:
        pq.write_table(pairs, stream, compression="zstd")


def _best(parts: Sequence[pa.Table], config: DeduplicationConfig) -> pa.Table:
    pairs = pa.concat_tables(parts).sort_by(_ORDER)
    return pairs.slice(0, max(config.closest, len(copies(pairs, config))))


def _pairs(batch: pa.RecordBatch, neighbours: Neighbours, places: pa.Table) -> pa.Table:
    number, similarity = neighbours.closest(_embeddings(batch))
    its = places.take(pa.array(number))
    columns = [batch.column("key"), batch.column("shard").cast(pa.string()), batch.column("index"), similarity]
    return pa.table([*columns, *(its[name] for name in ("key", "shard", "index"))], schema=PAIRS)


def _all_embeddings(test: ScoreFolder) -> tuple[pa.Table, npt.NDArray[np.float32]]:
    batches = list(test.batches(["key", "shard", "index", "embedding"]))
    places = pa.Table.from_batches([batch.drop_columns("embedding") for batch in batches])
    places = places.set_column(1, "shard", places["shard"].cast(pa.string())).combine_chunks()
    return places, np.concatenate([_embeddings(batch) for batch in batches])


def _embeddings(batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
    flat = batch.column("embedding").flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float32).reshape(len(batch), -1)


def _check(base: ScoreFolder, test: ScoreFolder) -> None:
    for name, folder in (("unlabeled", base), ("test", test)):
        if not folder.form.embedding:
            raise DataError(
                f"the scores of the {name} images ({folder.folder.url}) hold no embeddings; label with --embedding"
            )
    if not test.images:
        raise DataError(f"{test.folder.url} holds no test images to compare with")
    for name in ("checkpoint", "embedding"):
        mine, other = getattr(base.form, name), getattr(test.form, name)
        if mine != other:
            raise DataError(
                f"the embeddings of the unlabeled images have {name} {mine}, those of the test images {other}; "
                "label both with one teacher"
            )
