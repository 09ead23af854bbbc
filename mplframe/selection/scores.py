"""Scores of images: their schema, and batches of them.

Columns: `key` (string), `shard` (string), `index` (int64, the image's number within its shard), `classes` (list of P
int32, the most probable first) and `probabilities` (list of P float32). Where the format says so also `distribution`
(list of all probabilities, by class), `embedding`, `label` (int32, the true class or null) and `tags` (list of int32,
the classes that the image's tags name). An image is identified by `shard` and `index`; keys may repeat.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import PositiveInt, ValidationError, model_validator

from mplframe.config.base import BaseConfig
from mplframe.errors import DataError

FORMAT_KEY = b"mplframe.scores"
SHARD_KEY = b"mplframe.shard"

Float = Literal["float16", "float32"]
_FLOATS = {"float16": pa.float16(), "float32": pa.float32()}


class ScoreFormat(BaseConfig):
    """What the files of one folder have in common; stands in the metadata of each.

    Attributes:
        classes: how many classes the teacher knows.
        top_p: how many of them are kept for each image.
        checkpoint: what identifies the teacher, such as a digest of its weights.
        distribution: the type of the distribution over all classes; null where it isn't kept.
        embedding: dimensions of the embedding; null where it isn't kept.
        embedding_type: of the embedding.
        label: whether true classes are kept.
        tags: whether the classes that tags name are kept.
        version: of this format.
    """

    classes: PositiveInt
    top_p: PositiveInt
    checkpoint: str
    distribution: Float | None = None
    embedding: PositiveInt | None = None
    embedding_type: Float = "float16"
    label: bool = False
    tags: bool = False
    version: Literal[1] = 1

    @model_validator(mode="after")
    def _enough_classes(self) -> ScoreFormat:
        if self.top_p > self.classes:
            raise ValueError(f"top_p is {self.top_p}, but there are {self.classes} classes")
        return self

    def arrow_schema(self, shard: str) -> pa.Schema:
        """The columns of a shard's file, and its metadata."""
        columns = {
            "key": pa.string(),
            "shard": pa.dictionary(pa.int32(), pa.string()),
            "index": pa.int64(),
            "classes": pa.list_(pa.int32(), self.top_p),
            "probabilities": pa.list_(pa.float32(), self.top_p),
        }
        if self.distribution:
            columns["distribution"] = pa.list_(_FLOATS[self.distribution], self.classes)
        if self.embedding:
            columns["embedding"] = pa.list_(_FLOATS[self.embedding_type], self.embedding)
        if self.label:
            columns["label"] = pa.int32()
        if self.tags:
            columns["tags"] = pa.list_(pa.int32())
        metadata = {FORMAT_KEY: self.model_dump_json().encode(), SHARD_KEY: shard.encode()}
        return pa.schema(list(columns.items()), metadata=metadata)

    def differences(self, other: ScoreFormat) -> str:
        """The settings that differ, in words: `top_p 5 instead of 10`."""
        mine, its = self.model_dump(), other.model_dump()
        return ", ".join(f"{name} {its[name]} instead of {mine[name]}" for name in mine if mine[name] != its[name])


def file_name(shard: str) -> str:
    """The name of the file with a shard's scores: the shard's own, and a digest that tells `a/0.tar` from `b/0.tar`."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", shard.rpartition("/")[2].partition(".")[0])[:80]
    return f"{stem}-{hashlib.sha256(shard.encode()).hexdigest()[:16]}.parquet"


def read_format(schema: pa.Schema, where: str) -> tuple[ScoreFormat, str]:
    """The format and the shard that a file's metadata name.

    Raises:
        DataError: it isn't a file of scores, of another version, or its columns aren't what its metadata say.
    """
    metadata = schema.metadata or {}
    if FORMAT_KEY not in metadata or SHARD_KEY not in metadata:
        raise DataError(f"{where} is no file of scores (no {FORMAT_KEY.decode()} in its metadata); take it away")
    try:
        found = ScoreFormat.model_validate_json(metadata[FORMAT_KEY])
    except ValidationError as error:
        problem = error.errors()[0]
        raise DataError(
            f"{where}: its scores are in a format that this version doesn't read "
            f"({'.'.join(map(str, problem['loc']))}: {problem['msg']}); label again, or use the version that wrote it"
        ) from error
    shard = metadata[SHARD_KEY].decode()
    expected = found.arrow_schema(shard)
    if missing := [name for name in expected.names if name not in schema.names]:
        raise DataError(f"{where} has no column {missing[0]!r}, which its metadata promise; label this shard again")
    return found, shard


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
