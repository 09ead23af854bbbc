"""Parquet files, those of the Hugging Face hub included."""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mplframe.contracts.batch import UNKNOWN
from mplframe.data.decoding.image import decode
from mplframe.data.readers.base import Labels, Reader, Record, digest
from mplframe.data.readers.files import STORES, FileReader, Place, is_url, unlabeled_folder, version
from mplframe.data.readers.table import Row, as_text, classify, label_column, listed, path_column, table
from mplframe.data.shards.listing import expand
from mplframe.errors import DataError
from mplframe.io.requests import is_local
from mplframe.io.stores import explained

_KEPT = 16
"""Row groups that are kept in memory."""

_SIGNS = ((b"\xff\xd8", "jpg"), (b"\x89PNG", "png"), (b"BM", "bmp"), (b"RIFF", "webp"))


@dataclass(frozen=True)
class Columns:
    """Which columns of a table to take; None finds out.

    Attributes:
        image: images as bytes, or as a struct with the field `bytes`.
        label: class indices or names.
    """

    image: str | None = None
    label: str | None = None


def parquet(places: Sequence[Place], columns: Columns | None = None, classes: Sequence[str] | None = None) -> Reader:
    """The images in, or listed by, Parquet files of one schema.

    Class names are those of Hugging Face's features in the schema's metadata, if there are any; else labels are taken
    as in a CSV file. A label of -1 is none.

    Args:
        places: the files, in order.
        columns: which columns to take.
        classes: the class names in index order, where they are set elsewhere.

    Raises:
        DataError: a file is missing, damaged or of another schema, a column is missing or ambiguous, nothing is
            listed, or a label is unknown.
    """
    files = [_File.open(place) for place in places]
    schema, columns = files[0].schema, columns or Columns()
    strange = next((file for file in files if file.schema.names != schema.names), None)
    if strange is not None:
        raise DataError(f"{strange.place}: has the columns {strange.schema.names}, but {places[0]} has {schema.names}")
    image = _image_column(places[0], schema, columns.image)
    known = _class_column(places[0], schema, columns.label)
    names = _class_names(schema, known)
    wanted = classes or names or None
    texts = [] if known is None else _texts(files, known, names)
    if image is None:
        return _listing(files, texts, wanted)
    texts = texts or [""] * sum(sum(file.rows) for file in files)
    if not texts:
        raise DataError(f"{places[0]}: has no rows")
    labels, names = classify(texts, wanted, lambda i: f"{places[0]}, row {i}")
    return ParquetReader(files, image, labels, names)


@dataclass(frozen=True)
class _File:
    place: Place
    schema: pa.Schema
    rows: Sequence[int]
    """Of each row group."""

    @classmethod
    def open(cls, place: Place) -> _File:
        with _opened(place) as file:
            meta = file.metadata
            return cls(place, file.schema_arrow, [meta.row_group(i).num_rows for i in range(meta.num_row_groups)])

    def column(self, name: str, group: int | None = None) -> pa.ChunkedArray:
        """A column of a row group, or of all."""
        with _opened(self.place) as file:
            table = file.read([name]) if group is None else file.read_row_group(group, [name])
            return table.column(name)


@contextmanager
def _opened(place: Place) -> Iterator[pq.ParquetFile]:
    fs, path = STORES.open(str(place))
    with explained(str(place)), fs.open(path, "rb") as stream:
        try:
            yield pq.ParquetFile(stream)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{place}: can't be read as Parquet: {error}") from error


@final
class ParquetReader(Reader):
    """Encoded images in a column.

    Args:
        files: which.
        image: the column.
        labels: [N] class indices or `UNKNOWN`.
        classes: class names in index order.
    """

    def __init__(self, files: Sequence[_File], image: str, labels: Labels, classes: Sequence[str]) -> None:
        self._files, self._image = files, image
        self._labels, self._classes = labels, tuple(classes)
        self._groups = [(file, number) for file in files for number in range(len(file.rows))]
        self._ends = np.cumsum([rows for file in files for rows in file.rows])
        self._lock = threading.Lock()
        self._read = lru_cache(maxsize=_KEPT)(self._read_group)

    @property
    def classes(self) -> Sequence[str]:
        return self._classes

    @property
    def labels(self) -> Labels:
        return self._labels

    @cached_property
    def groups(self) -> Labels:
        """The row groups."""
        return np.searchsorted(self._ends, np.arange(len(self)), side="right")

    @cached_property
    def digest(self) -> str:
        places = [f"{version(file.place)} {file.rows}" for file in self._files]
        return digest(self._image, repr(self._classes), self._labels, *places)

    def read(self, index: int) -> Record:
        group = int(np.searchsorted(self._ends, index, side="right"))
        first = int(self._ends[group - 1]) if group else 0
        with self._lock:
            value = self._read(group)[index - first].as_py()
        label = int(self._labels[index])
        return self._record(index, value, None if label == UNKNOWN else label)

    def _record(self, index: int, value: Any, label: int | None) -> Record:
        data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        key = f"{index}-{str(path).rpartition('.')[0]}" if path else str(index)
        if not data:
            raise DataError(f"{self._files[0].place}, row {index}: the column {self._image!r} has no image")
        extension = next((name for sign, name in _SIGNS if data.startswith(sign)), None)
        if extension is None:
            return Record(key, decode(data, f"row {index} of {self._files[0].place}"), "png", label)
        return Record(key, data, extension, label)

    def _read_group(self, group: int) -> pa.ChunkedArray:
        file, number = self._groups[group]
        return file.column(self._image, number)


def features(schema: pa.Schema) -> Mapping[str, Any]:
    """Hugging Face's features by column, from a schema's metadata; empty where there are none."""
    said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    found: Mapping[str, Any] = said.get("info", {}).get("features", {})
    return found


def _image_column(place: Place, schema: pa.Schema, named: str | None) -> str | None:
    """The column with images; None where there is none."""
    if named is not None:
        if named not in schema.names:
            raise DataError(f"{place}: no column {named!r} (it has {', '.join(schema.names)})")
        return named
    marked = [name for name, feature in features(schema).items() if _type(feature) == "Image"]
    found = marked or [field.name for field in schema if _holds_images(field.type)]
    if len(found) > 1:
        raise DataError(f"{place}: several columns hold images: {', '.join(found)}; name one with --image-column")
    return found[0] if found else None


def _class_column(place: Place, schema: pa.Schema, named: str | None) -> str | None:
    marked = [name for name, feature in features(schema).items() if _type(feature) == "ClassLabel"]
    if named is None and "label" not in schema.names and marked:
        if len(marked) > 1:
            raise DataError(f"{place}: several columns hold classes: {', '.join(marked)}; name one with --label-column")
        return marked[0]
    return label_column(place, schema.names, named)


def _class_names(schema: pa.Schema, column: str | None) -> tuple[str, ...]:
    feature = features(schema).get(column or "", {})
    return tuple(feature["names"]) if _type(feature) == "ClassLabel" and "names" in feature else ()


def _type(feature: Any) -> Any:
    return feature.get("_type") if isinstance(feature, dict) else None


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _listing(files: Sequence[_File], labels: Sequence[str], classes: Sequence[str] | None) -> FileReader:
    """The files that rows name, relative to the folder of the first Parquet file."""
    column = path_column(files[0].place, files[0].schema.names)
    paths = [as_text(value) for file in files for value in file.column(column).to_pylist()]
    pairs = zip(paths, labels or [""] * len(paths), strict=True)
    return listed(files[0].place, [Row(f"row {i}", *pair) for i, pair in enumerate(pairs)], classes)


def _texts(files: Sequence[_File], label: str, names: Sequence[str]) -> list[str]:
    """Labels as they would stand in a list."""
    values = [value for file in files for value in file.column(label).to_pylist()]
    return [names[v] if isinstance(v, int) and 0 <= v < len(names) else as_text(v) for v in values]


METADATA = ("metadata.csv", "metadata.jsonl")
TRAIN = ("train", "training")
TEST = ("test", "testing", "validation", "valid", "val", "dev", "eval")
"""Words for a split for testing, by preference."""
UNLABELED = ("unlabeled", "unsupervised", "extra")

_NAME = re.compile(r"(?P<split>[A-Za-z]+)(-\d+-of-\d+)?(-[0-9a-f]{16})?\.parquet")
_NUMBERED = re.compile(r"\d+\.parquet")


def parquet_splits(place: Place) -> dict[str, list[Place]]:
    """The Parquet files at a place by the name of their split, sorted.

    A file's split is told from its name (`train-00000-of-00002.parquet`) or, where that is a number, from its folder's.
    Where no name is one of a split, all are `train`.

    Args:
        place: a file, a glob of URLs, or a folder that has the files at any depth.

    Raises:
        DataError: there are none; only some have the name of a split; or one split lies in several folders.
    """
    files = parquet_files(place)
    if not files:
        raise DataError(f"{place}: no Parquet files in it or below it")
    splits: defaultdict[str, list[Place]] = defaultdict(list)
    for file in files:
        splits[_split(str(file)) or ""].append(file)
    if splits.keys() == {""}:
        return {"train": files}
    if "" in splits:
        raise DataError(
            f"{splits[''][0]}: its split can't be told from its name, though {len(files) - len(splits[''])} others "
            "have one; name them like train-00000-of-00001.parquet"
        )
    for name, found in splits.items():
        folders = sorted({str(file).rpartition("/")[0] for file in found})
        if len(folders) > 1:
            raise DataError(f"{place}: {name} lies in {len(folders)} folders; name one: {', '.join(folders[:5])}")
    return dict(splits)


def parquet_files(place: Place) -> list[Place]:
    """The Parquet files at a place, sorted; hidden ones and those in hidden folders left out.

    Raises:
        DataError: it can't be listed.
    """
    if str(place).endswith(".parquet"):
        return list(expand(str(place), STORES)) if is_url(place) else [place]
    fs, path = STORES.open(str(place))
    with explained(str(place)):
        found = sorted(name for name in fs.find(path) if name.endswith(".parquet") and "/." not in name[len(path) :])
    return [Path(name) if is_local(fs) else fs.unstrip_protocol(name) for name in found]


def choose_test(labeled: Mapping[str, Reader]) -> tuple[Reader | None, list[str]]:
    """Of the splits for testing that have labels the preferred one, and notes on those that are left out."""
    usable = [name for name in TEST if name in labeled and (labeled[name].labels >= 0).any()]
    notes = [
        f"the split {name} ({len(reader):,} images) is left out: {_why(name, usable)}"
        for name, reader in labeled.items()
        if name in TEST and name not in usable[:1]
    ]
    return (labeled[usable[0]] if usable else None), notes


def metadata_file(root: Path) -> Path | None:
    """The metadata file of an image folder."""
    return next((root / name for name in METADATA if (root / name).is_file()), None)


def image_folder_with_metadata(root: Path, classes: Sequence[str] | None = None) -> FileReader:
    """The images that the metadata file of a folder lists, with notes on those that it doesn't.

    Raises:
        DataError: as `table`.
    """
    place = metadata_file(root)
    if place is None:
        raise DataError(f"{root}: no metadata.csv or metadata.jsonl in it")
    reader = table(place, classes)
    others = len(unlabeled_folder(root)) - len(reader)
    if others <= 0:
        return reader
    return reader.noting(f"{place}: {others:,} image(s) below its folder aren't listed and are left out")


def _split(file: str) -> str | None:
    folder, _, name = file.rpartition("/")
    match = _NAME.fullmatch(name)
    word = folder.rpartition("/")[2] if _NUMBERED.fullmatch(name) else match["split"] if match else ""
    known = (*TRAIN, *TEST, *UNLABELED)
    return word.lower() if word.lower() in known else None


def _why(name: str, usable: Sequence[str]) -> str:
    return f"{usable[0]} is used for testing" if name in usable else "it has no labels"
