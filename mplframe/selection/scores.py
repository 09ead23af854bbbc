"""The table of scores: what a teacher says of unlabeled images. Parquet, one file a shard.

Columns: `key` (string), `shard` (string), `index` (int64, the image's number within its shard), `classes` (list of P
int32, the most probable first) and `probabilities` (list of P float32). Where the format says so also `distribution`
(list of all probabilities, by class), `embedding`, `label` (int32, the true class or null) and `tags` (list of int32,
the classes that the image's tags name). An image is identified by `shard` and `index`; keys may repeat.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

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
