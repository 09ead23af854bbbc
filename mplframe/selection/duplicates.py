"""Near duplicates by embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mplframe.errors import DataError, optional
from mplframe.io.location import Location
from mplframe.selection.config import DeduplicationConfig
from mplframe.selection.score_files import ScoreFolder

_COMPARED = 4
"""How many of the closest, by the search's single precision, are compared again in double precision."""


def normalised(vectors: npt.NDArray[np.floating[Any]], where: str) -> npt.NDArray[np.float32]:
    """[N, D] vectors of length 1.

    Raises:
        DataError: one has no direction: its length is 0 or not finite.
    """
    vectors = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if len(bad := np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)).ravel())):
        raise DataError(f"{where}: embedding {bad[0]} has length {lengths[bad[0], 0]:g}; label again")
    unit: npt.NDArray[np.float32] = (vectors / lengths).astype(np.float32)
    return unit


class Neighbours:
    """An index of test embeddings that any number of others are held against.

    Memory is that of the test embeddings in single precision, however many are searched for.

    Args:
        test: [T, D].
        threads: that faiss uses.

    Raises:
        UserError: faiss isn't installed.
    """

    def __init__(self, test: npt.NDArray[np.floating[Any]], *, threads: int = 1) -> None:
        faiss = optional("faiss", "faiss-cpu")
        faiss.omp_set_num_threads(threads)
        self._test = normalised(test, "the test images")
        self._index = faiss.IndexFlatIP(self._test.shape[1])
        self._index.add(self._test)

    def closest(self, base: npt.NDArray[np.floating[Any]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The test image closest to each vector.

        Args:
            base: [N, D].

        Returns:
            [N] its number (of equally close ones the first), and [N] the cosine similarity.
        """
        vectors = normalised(base, "the unlabeled images")
        _, found = self._index.search(vectors, min(_COMPARED, len(self._test)))  # [N, K]
        found.sort(axis=1)
        # In blocks the search sums in another order; like this, similarity doesn't depend on what came in one batch.
        similarity = np.einsum("nd,nkd->nk", vectors, self._test[found], dtype=np.float64).astype(np.float32)
        best = similarity.argmax(axis=1)
        rows = np.arange(len(vectors))
        return found[rows, best], similarity[rows, best]


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
