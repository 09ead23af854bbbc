"""A packed data set, or shards by URL, as a source to be divided anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mplframe.data.labels import class_names
from mplframe.data.readers.base import Reader
from mplframe.data.readers.detect import Source
from mplframe.data.readers.files import STORES, is_url
from mplframe.data.readers.shards import ShardReader
from mplframe.data.readers.views import Subset
from mplframe.errors import DataError, UserError
from mplframe.stores.stores import explained

DESCRIPTION = "dataset.json"


def open_packed(target: str, classes: str | None = None, *, skip_damaged: bool = False) -> Source:
    """Open what is divided: its labeled images to be divided, its unlabeled ones, its test images.

    Samples of a packed data set are in the order in which they were before they were packed; those of other shards as
    they lie there.

    Args:
        target: a packed folder, local or in a store, or the URL of shards.
        classes: of shards: the number of classes, or the path or URL of a file of names. A packed data set has its own.
        skip_damaged: leave out samples that aren't whole, and note them.

    Raises:
        DataError: nothing is there, or it is damaged.
        UserError: `classes` is given for a packed data set, or a store can't be reached.
    """
    if target.partition("?")[0].endswith((".tar", ".txt")) or "*" in target:
        names = None if classes is None else class_names(int(classes) if classes.isdigit() else classes)
        return Source("shards", ShardReader(target, names, skip_damaged=skip_damaged), place=target)
    said = _description(target)
    if classes is not None:
        raise UserError(f"{target} has its own class names; leave --classes out")
    splits = {
        name: _in_order([f"{target.rstrip('/')}/{shard['file']}" for shard in split["shards"]], said, skip_damaged)
        for name, split in said["splits"].items()
    }
    if "labeled" not in splits:
        raise DataError(f"{target} has no labeled samples to divide (it has {', '.join(splits)})")
    format = said["source"].get("format") or "shards"
    return Source(format, splits["labeled"], splits.get("test"), splits.get("unlabeled"), place=target)


def _description(target: str) -> Any:
    url = f"{target.rstrip('/')}/{DESCRIPTION}"
    if not is_url(target) and not Path(url).is_file():
        raise DataError(
            f"{target}: neither shards (such as {target.rstrip('/')}/*.tar) nor a folder made by `mplframe data pack`, "
            f"which has {DESCRIPTION}"
        )
    with explained(url):
        text = STORES.read(url)
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{url}: damaged: {error}") from error


def _in_order(urls: Sequence[str], said: Any, skip_damaged: bool) -> Reader:
    """Samples sorted by the number that packing has put in front of their keys."""
    reader = ShardReader(urls, said["classes"] or None, skip_damaged=skip_damaged)
    keys = np.array([reader.origin(i)[1] for i in range(len(reader))])
    return Subset(reader, np.argsort(keys, kind="stable"))
