"""The test image that is closest to each unlabeled image, by exact search among the embeddings of the test images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mplframe.errors import DataError, optional

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
