"""Some images' scores on their way into a file, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mplframe.errors import DataError
from mplframe.selection.scores import ScoreFormat


@dataclass(frozen=True)
class ScoreBatch:
    """The scores of N images of one shard.

    Attributes:
        keys: [N].
        index: [N] integers, each image's number within its shard, ascending.
        classes: [N, P] integers, the most probable first.
        probabilities: [N, P] floats in [0, 1], descending.
        distribution: [N, C] floats.
        embedding: [N, D] floats.
        label: [N] integers, the true class, or -1 where it isn't known.
        tags: for each image the classes that its tags name.
    """

    keys: Sequence[str]
    index: npt.NDArray[np.integer[Any]]
    classes: npt.NDArray[np.integer[Any]]
    probabilities: npt.NDArray[np.floating[Any]]
    distribution: npt.NDArray[np.floating[Any]] | None = None
    embedding: npt.NDArray[np.floating[Any]] | None = None
    label: npt.NDArray[np.integer[Any]] | None = None
    tags: Sequence[Sequence[int]] | None = None


def top_classes(
    probabilities: npt.NDArray[np.floating[Any]], top_p: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The `top_p` most probable classes of each image; of equally probable ones the first.

    Args:
        probabilities: [N, C], C at least `top_p`.

    Returns:
        [N, P] classes and [N, P] their probabilities, descending.
    """
    classes = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_p]
    return classes.astype(np.int32), np.take_along_axis(probabilities, classes, axis=1).astype(np.float32)


def to_arrow(batch: ScoreBatch, schema: pa.Schema, form: ScoreFormat, shard: str) -> pa.RecordBatch:
    """The batch as rows of a shard's file.

    Raises:
        DataError: an array is missing, has another shape than the format says, or values that can't be; names the
            shard and the first key at fault.
    """
    _check_shapes(batch, form, shard)
    _check_values(batch, form, shard)
    count = len(batch.keys)
    arrays = {
        "key": pa.array(batch.keys, pa.string()),
        "shard": pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array([shard])),
        "index": pa.array(batch.index, pa.int64()),
    }
    for name in ("classes", "probabilities", "distribution", "embedding"):
        if name in schema.names:
            arrays[name] = _fixed_lists(getattr(batch, name), schema.field(name).type)
    if batch.label is not None and form.label:
        arrays["label"] = pa.array(batch.label, pa.int32(), mask=np.asarray(batch.label) < 0)
    if batch.tags is not None and form.tags:
        arrays["tags"] = pa.array([sorted(set(tags)) for tags in batch.tags], schema.field("tags").type)
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)


def _fixed_lists(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    flat = np.ascontiguousarray(values, kind.value_type.to_pandas_dtype()).ravel()
    return pa.FixedSizeListArray.from_arrays(pa.array(flat, kind.value_type), type=kind)


def _check_shapes(batch: ScoreBatch, form: ScoreFormat, shard: str) -> None:
    count = len(batch.keys)
    expected: dict[str, tuple[int, ...] | None] = {
        "index": (count,),
        "classes": (count, form.top_p),
        "probabilities": (count, form.top_p),
        "distribution": (count, form.classes) if form.distribution else None,
        "embedding": (count, form.embedding) if form.embedding else None,
        "label": (count,) if form.label else None,
        "tags": (count,) if form.tags else None,
    }
    for name, shape in expected.items():
        given = getattr(batch, name)
        found = None if given is None else (len(given),) if name == "tags" else np.shape(given)
        if found != shape:
            raise DataError(f"{shard}: {name} has the shape {found}, but the format of these scores asks for {shape}")


def _check_values(batch: ScoreBatch, form: ScoreFormat, shard: str) -> None:
    probabilities = np.asarray(batch.probabilities, np.float32)
    problems = {
        "probabilities that aren't in [0, 1]": ~((probabilities >= 0) & (probabilities <= 1)),
        "probabilities that don't descend": np.diff(probabilities, axis=1) > 0,
        f"classes outside 0 to {form.classes - 1}": (batch.classes < 0) | (batch.classes >= form.classes),
        "a class twice": np.diff(np.sort(batch.classes, axis=1), axis=1) == 0,
    }
    if batch.tags is not None:
        problems[f"tags outside 0 to {form.classes - 1}"] = np.array(
            [any(not 0 <= tag < form.classes for tag in tags) for tags in batch.tags], bool
        ).reshape(-1, 1)
    if batch.label is not None:
        problems[f"a label above {form.classes - 1}"] = (np.asarray(batch.label) >= form.classes).reshape(-1, 1)
    for name in ("distribution", "embedding"):
        if (values := getattr(batch, name)) is not None:
            problems[f"numbers in its {name} that aren't finite"] = ~np.isfinite(values)
    for problem, at_fault in problems.items():
        rows = np.flatnonzero(at_fault.any(axis=1))
        if len(rows):
            raise DataError(f"{shard}: image {batch.keys[rows[0]]!r} has {problem}; look at the teacher that scored it")
