"""The manifest: the images a student learns from, and how.

Parquet, sorted by `shard`, `index` and `label`, so that the images can be streamed where they lie. Columns: `key`
(string), `shard` (string), `index` (int64, the image's number within its shard), `label` (int32, the class it was
selected for), `probability` (float32; null where the teacher's is unknown), `rank` (int64, among the images of its
class, 0 is the best), `repeat` (int64, how often it is seen), and where there is one `truth` (int32, the true class or
null, for diagnostics) and `distribution` (list of all probabilities, by class). The metadata hold a `ManifestFormat`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from mplframe.config.base import BaseConfig
from mplframe.errors import DataError
from mplframe.io.location import Location, locate
from mplframe.selection.config import SelectionConfig
from mplframe.selection.report import Report
from mplframe.selection.scores import ScoreFormat

FORMAT_KEY = b"mplframe.manifest"


class ManifestFormat(BaseConfig):
    """How a manifest came about; stands in its metadata.

    Attributes:
        scores: the format of the scores, which names the teacher.
        config: of the selection.
        report: what became of every image.
        version: of the manifest's format.
    """

    scores: ScoreFormat
    config: SelectionConfig
    report: Report
    version: Literal[1] = 1

    def arrow_schema(self) -> pa.Schema:
        """The columns, and the metadata."""
        columns = {
            "key": pa.string(),
            "shard": pa.dictionary(pa.int32(), pa.string()),
            "index": pa.int64(),
            "label": pa.int32(),
            "probability": pa.float32(),
            "rank": pa.int64(),
            "repeat": pa.int64(),
        }
        if self.scores.label:
            columns["truth"] = pa.int32()
        if self.config.distribution:
            columns["distribution"] = self.scores.arrow_schema("").field("distribution").type
        return pa.schema(list(columns.items()), metadata={FORMAT_KEY: self.model_dump_json().encode()})


def write_manifest(location: Location, form: ManifestFormat, rows: Iterable[pa.RecordBatch]) -> None:
    """Write a manifest, which appears once it is complete.

    Args:
        location: the file.
        form: what its metadata say.
        rows: sorted; with the manifest's columns, in any order.
    """
    schema = form.arrow_schema()
    written = 0
    with (
        location.replacing() as stream,
        pq.ParquetWriter(stream, schema, compression="zstd", use_dictionary=["shard"]) as writer,
    ):
        for batch in rows:
            writer.write_table(pa.Table.from_batches([batch]).select(schema.names).cast(schema))
            written += len(batch)
        assert written == form.report.rows, f"{written} rows written, {form.report.rows} reported"


def read_manifest_format(url: str, *, storage_options: Mapping[str, Any] | None = None) -> ManifestFormat:
    """What the metadata of a manifest say.

    Raises:
        DataError: it isn't a manifest, or of another version.
    """
    location = locate(url, storage_options)
    with location.reading(), location.fs.open(location.path, "rb") as stream:
        metadata = pq.ParquetFile(stream).schema_arrow.metadata or {}
        if FORMAT_KEY not in metadata:
            raise DataError(f"{location.url} is no manifest (no {FORMAT_KEY.decode()} in its metadata)")
        try:
            return ManifestFormat.model_validate_json(metadata[FORMAT_KEY])
        except ValidationError as error:
            raise DataError(f"{location.url}: a manifest of another version of mplframe; select again") from error
