"""Lists of image files and their labels: CSV, JSON lines, or rows from elsewhere."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mplframe.contracts.batch import UNKNOWN
from mplframe.data.readers.base import Labels
from mplframe.data.readers.files import FileReader, Place, class_index, is_sample, is_url, read_bytes
from mplframe.errors import DataError, nearest
from mplframe.io.files import lines_of

PATHS = ("path", "file_name", "url")
"""Columns that name an image file; Hugging Face's word is `file_name`."""

NO_LABEL = ("", "-1")
"""What stands for no label."""


@dataclass(frozen=True)
class Row:
    """One listed image.

    Attributes:
        line: where it is listed, `line 3` say.
        path: as it is written.
        label: as it is written; one of `NO_LABEL` where there is none.
    """

    line: str
    path: str
    label: str


def table(place: Place, classes: Sequence[str] | None = None, *, label: str | None = None) -> FileReader:
    """The images that a `.csv` file with a header or a `.jsonl` file of objects lists.

    The columns are `path` (or `file_name`, or `url`) and, where anything is labeled, `label`.

    Args:
        place: the file.
        classes: as of `listed`.
        label: the column of labels, where it has another name.

    Raises:
        DataError: the file or a listed image is missing, a column is missing, nothing is listed, an image is listed
            twice, or a label is unknown. Names the line.
    """
    text = _text(place)
    rows = _json_rows(place, text, label) if str(place).endswith(".jsonl") else _csv_rows(place, text, label)
    return listed(place, rows, classes)


def listed(place: Place, rows: Sequence[Row], classes: Sequence[str] | None = None) -> FileReader:
    """The images that rows list.

    Paths are relative to the list's folder, or URLs. A label is a class name, or everywhere a class index. Classes are
    the names that occur, sorted; or `0` up to the greatest index.

    Args:
        place: of the list.
        rows: what it lists.
        classes: the class names in index order, where they are set elsewhere.

    Raises:
        DataError: as `table`.
    """
    if not rows:
        raise DataError(f"{place}: lists no images")
    files = [_file(place, row) for row in rows]
    _check_unique(place, rows)
    labels, names = classify([row.label for row in rows], classes, lambda i: f"{place}, {rows[i].line}")
    return FileReader(place if isinstance(place, str) else place.parent, files, labels, names)


def classify(
    labels: Sequence[str], classes: Sequence[str] | None, where: Callable[[int], str]
) -> tuple[Labels, tuple[str, ...]]:
    """[N] class indices of labels as they stand in a list, and the class names; see `listed`.

    Args:
        labels: N class names or indices; one of `NO_LABEL` where there is none.
        classes: the class names in index order, where they are set elsewhere.
        where: the place of the label with this number, for errors.

    Raises:
        DataError: a label is none of the classes.
    """
    names = _classes(labels) if classes is None else tuple(classes)
    index = {name: number for number, name in enumerate(names)}
    found = np.full(len(labels), UNKNOWN, dtype=np.int64)
    for i, label in enumerate(labels):
        if label not in NO_LABEL:
            known = index.get(label)
            found[i] = class_index(label, names, where(i)) if known is None else known
    return found, names


def path_column(place: Place, columns: Sequence[str]) -> str:
    """The column that names image files.

    Raises:
        DataError: there is none.
    """
    found = next((name for name in PATHS if name in columns), None)
    if found is None:
        raise DataError(f"{place}: {_no_column('path', columns)}; `file_name` and `url` would do as well")
    return found


def label_column(place: Place, columns: Sequence[str], named: str | None) -> str | None:
    """The column of labels; None where there is none.

    Raises:
        DataError: the one that was named isn't there.
    """
    if named is not None and named not in columns:
        raise DataError(f"{place}: {_no_column(named, columns)}")
    return named or ("label" if "label" in columns else None)


def _no_column(name: str, columns: Sequence[str]) -> str:
    return f"no column `{name}`{nearest(name, columns)} (it has {', '.join(columns) or 'none'})"


def _text(place: Place) -> str:
    try:
        return read_bytes(place).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: isn't text in UTF-8: {error}") from error


def _csv_rows(place: Place, text: str, label: str | None) -> list[Row]:
    try:
        lines = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
        columns = [name.strip() for name in lines.fieldnames or ()]
        lines.fieldnames = columns
        path, known = path_column(place, columns), label_column(place, columns, label)
        return [
            Row(f"line {lines.line_num}", (row[path] or "").strip(), (row[known] or "").strip() if known else "")
            for row in lines
        ]
    except csv.Error as error:
        raise DataError(f"{place}: isn't a CSV file in UTF-8: {error}") from error


def _json_rows(place: Place, text: str, label: str | None) -> list[Row]:
    objects = [(f"line {i}", _object(place, i, line)) for i, line in enumerate(lines_of(text), 1) if line.strip()]
    columns = list(dict.fromkeys(name for _, row in objects for name in row))
    path, known = path_column(place, columns), label_column(place, columns, label)
    return [Row(line, str(row.get(path) or ""), as_text(row.get(known)) if known else "") for line, row in objects]


def as_text(label: object) -> str:
    """A label as it stands in a list; empty for None."""
    return "" if label is None else str(label)


def _object(place: Place, number: int, line: str) -> dict[str, object]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise DataError(f"{place}, line {number}: isn't valid JSON ({error})") from error
    if not isinstance(found, dict):
        raise DataError(f"{place}, line {number}: isn't a JSON object with the key `path` or `file_name`")
    return found


def _file(table: Place, row: Row) -> Place:
    where = f"{table}, {row.line}"
    if not row.path:
        raise DataError(f"{where}: no path")
    if is_url(row.path):
        found: Place = row.path
    elif isinstance(table, str):
        found = f"{table.rpartition('/')[0]}/{row.path}"
    else:
        found = table.parent / row.path
        if not found.is_file():
            raise DataError(f"{where}: no such file {found}; paths are relative to the folder of the list")
    if not is_sample(found):
        raise DataError(f"{where}: {row.path} has no image suffix that is known")
    return found


def _check_unique(table: Place, rows: Sequence[Row]) -> None:
    seen: dict[str, str] = {}
    for row in rows:
        if row.path in seen:
            raise DataError(f"{table}, {row.line}: {row.path} is already listed in {seen[row.path]}")
        seen[row.path] = row.line


def _classes(labels: Sequence[str]) -> tuple[str, ...]:
    found = {label for label in labels if label not in NO_LABEL}
    if found and all(label.isascii() and label.isdigit() for label in found):
        return tuple(str(number) for number in range(max(map(int, found)) + 1))
    return tuple(sorted(found))
