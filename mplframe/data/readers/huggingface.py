"""The two layouts of Hugging Face's datasets: Parquet files by split, and image folders with a metadata file."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from mplframe.data.readers.base import Reader
from mplframe.data.readers.files import STORES, FileReader, Place, is_url
from mplframe.data.readers.folder import unlabeled_folder
from mplframe.data.readers.table import table
from mplframe.data.shard_list import expand
from mplframe.errors import DataError
from mplframe.stores.drivers import is_local
from mplframe.stores.stores import explained

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
