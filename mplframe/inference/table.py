"""Predictions for samples without labels, written as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from torch import nn

from mplframe.contracts.backend import Backend
from mplframe.contracts.data import EvaluationBatch
from mplframe.errors import UserError
from mplframe.inference.predict import predict
from mplframe.io.files import write_atomic


def classify(
    network: nn.Module, images: Iterable[EvaluationBatch], backend: Backend, classes: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Rows of `key`, `class`, `label`, `probability` and `p_<class>` for each class.

    Args:
        network: a classifier.
        images: batches of them.
        backend: where the network runs.
        classes: class names in index order.
    """
    layout = schema(classes)
    for batch in images:
        probabilities = predict(network, batch.images, backend).softmax(-1).cpu()
        best, labels = probabilities.max(-1)
        columns = [
            pa.array(batch.keys),
            pa.array([classes[label] for label in labels.tolist()]),
            pa.array(labels.numpy()),
            pa.array(best.numpy()),
            *(pa.array(column.numpy()) for column in probabilities.unbind(-1)),
        ]
        yield pa.record_batch(columns, schema=layout)


def schema(classes: Sequence[str]) -> pa.Schema:
    """Columns of the table of predictions."""
    fixed = [("key", pa.string()), ("class", pa.string()), ("label", pa.int64()), ("probability", pa.float32())]
    return pa.schema([*fixed, *((f"p_{name}", pa.float32()) for name in classes)])


def write_table(path: Path, rows: Iterable[pa.RecordBatch], layout: pa.Schema) -> int:
    """Write rows as they come to a `.csv` or `.parquet` file, which appears when it is complete.

    Returns:
        How many rows.

    Raises:
        UserError: another suffix, or the folder can't be written.
        RunError: the disk is full.
    """
    check_suffix(path)
    open_writer = pq.ParquetWriter if path.suffix == ".parquet" else pa_csv.CSVWriter
    count = 0

    def write(file: BinaryIO) -> None:
        nonlocal count
        with open_writer(file, layout) as writer:
            for batch in rows:
                count += batch.num_rows
                writer.write_batch(batch)

    write_atomic(path, write)
    return count


def check_suffix(path: Path) -> None:
    """Refuse a file that is neither CSV nor Parquet.

    Raises:
        UserError: says what is allowed.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise UserError(
            f"--out {path}: predictions are written as .csv or .parquet, not {path.suffix or 'without suffix'}"
        )
