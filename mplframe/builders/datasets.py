"""Datasets and images that a user points at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from mplframe.builders.maker import Maker
from mplframe.config import load as config_files
from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.config.resolve import resolve
from mplframe.contracts.data import DatasetSource, Split
from mplframe.data.readers.files import unlabeled_folder
from mplframe.data.readers.split import ReaderSplit
from mplframe.data.shards.listing import inside
from mplframe.data.shards.members import ANY_CLASS
from mplframe.data.shards.source import WebDataset
from mplframe.errors import DataError, UserError
from mplframe.plugins import Components


def open_images(
    where: str, classes: Sequence[str], *, tag_key: str | None = None, tag_classes: str | None = None
) -> Split:
    """Images to classify: a folder of image files at any depth, or shards by URL.

    Args:
        where: they lie.
        classes: names in index order.
        tag_key, tag_classes: of shards; see `WebDataset.Config`.

    Raises:
        DataError: nothing is there.
    """
    path = Path(where)
    if path.is_dir() and not any(path.glob("*.tar")):
        return ReaderSplit(unlabeled_folder(path))
    url = inside(path, "*.tar") if path.is_dir() else where
    config = WebDataset.Config(unlabeled=url, classes=list(classes), tag_key=tag_key, tag_classes=tag_classes)
    split = WebDataset(config).split("unlabeled")
    assert split is not None
    return split


def open_dataset(target: str, overrides: Sequence[str], installed: Components) -> tuple[DatasetSource, ComponentConfig]:
    """The dataset that a user points at: a config file's, a packed folder, or shards by URL.

    Raises:
        UserError: it is none of them.
    """
    if target.endswith((".yaml", ".yml")):
        raw = config_files.read(target, overrides=overrides)
        config: ComponentConfig = resolve(_DataOnly, {"data": raw.get("data")}, installed.config).data
        return Maker(installed)("dataset", config), config
    if overrides:
        raise UserError("--set changes a config file; give one, or leave --set out")
    found = _packed(Path(target)) if Path(target).is_dir() else WebDataset.Config(unlabeled=target, classes=ANY_CLASS)
    return WebDataset(found), found


class _DataOnly(BaseConfig):
    data: Annotated[ComponentConfig, Kind("dataset")]


def _packed(folder: Path) -> WebDataset.Config:
    """The config of a folder made by `mplframe data pack`."""
    names = [name for name in ("labeled", "unlabeled", "test") if any(folder.glob(f"{name}-*.tar"))]
    if not names:
        raise DataError(
            f"{folder} has no labeled-*.tar, unlabeled-*.tar or test-*.tar; give a folder made by "
            "`mplframe data pack`, a config file, or the URL of shards"
        )
    classes = folder / "classes.txt"
    urls: dict[str, Any] = {name: inside(folder, f"{name}-*.tar") for name in names}
    return WebDataset.Config(**urls, classes=str(classes) if classes.exists() else ANY_CLASS)
