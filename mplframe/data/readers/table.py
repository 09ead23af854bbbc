"""A CSV file that lists image files and their labels."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mplframe.contracts.batch import UNKNOWN
from mplframe.data.readers.base import Labels
from mplframe.data.readers.folder import FileReader, class_index, is_image
from mplframe.errors import DataError, nearest


def csv_table(path: Path, classes: Sequence[str] | None = None) -> FileReader:
    """A CSV file with a header and the columns `path` and, where anything is labeled, `label`.

    Paths are relative to the CSV file's folder. A label is a class name, or everywhere a class index; an empty one
    means that there is none. Classes are the names that occur, sorted; or `0` up to the greatest index.

    Args:
        path: the CSV file.
        classes: the class names in index order, where they are set elsewhere.

    Raises:
        DataError: the file or a listed image is missing, a column is missing, nothing is listed, an image is listed
            twice, or a label is unknown. Names the line.
    """
    rows = _rows(path)
    files = [_file(path, line, name) for line, name, _ in rows]
    _check_unique(path, rows)
    texts = [label for _, _, label in rows]
    names = _classes(texts) if classes is None else tuple(classes)
    return FileReader(path.parent, files, _labels(path, rows, names), names)


def _rows(path: Path) -> list[tuple[int, str, str]]:
    """(line number, path, label) of every row; an empty label stands for none."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream, skipinitialspace=True, strict=True)
            columns = [name.strip() for name in table.fieldnames or ()]
            table.fieldnames = columns
            if "path" not in columns:
                near = nearest("path", columns)
                raise DataError(
                    f"{path}: no column `path`{near} in its first line (it has {', '.join(columns) or 'none'})"
                )
            rows = [(table.line_num, (row["path"] or "").strip(), (row.get("label") or "").strip()) for row in table]
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: isn't a CSV file in UTF-8: {error}") from error
    if not rows:
        raise DataError(f"{path}: lists no images below its first line")
    return rows


def _file(table: Path, line: int, name: str) -> Path:
    found = table.parent / name
    if not name:
        raise DataError(f"{table}, line {line}: no path")
    if not found.is_file():
        raise DataError(f"{table}, line {line}: no such file {found}; paths are relative to the CSV file's folder")
    if not is_image(found):
        raise DataError(f"{table}, line {line}: {name} has no image suffix that is known")
    return found


def _check_unique(table: Path, rows: Sequence[tuple[int, str, str]]) -> None:
    seen: dict[str, int] = {}
    for line, name, _ in rows:
        if name in seen:
            raise DataError(f"{table}, line {line}: {name} is already listed in line {seen[name]}")
        seen[name] = line


def _classes(labels: Sequence[str]) -> tuple[str, ...]:
    found = {label for label in labels if label}
    if found and all(label.isascii() and label.isdigit() for label in found):
        return tuple(str(number) for number in range(max(map(int, found)) + 1))
    return tuple(sorted(found))


def _labels(table: Path, rows: Sequence[tuple[int, str, str]], classes: Sequence[str]) -> Labels:
    index = {name: number for number, name in enumerate(classes)}
    labels = np.full(len(rows), UNKNOWN, dtype=np.int64)
    for i, (line, _, label) in enumerate(rows):
        if label:
            known = index.get(label)
            labels[i] = class_index(label, classes, f"{table}, line {line}") if known is None else known
    return labels
