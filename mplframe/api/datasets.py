"""Datasets: made, looked at, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mplframe.api.configs import components
from mplframe.builders import open_dataset
from mplframe.data.contact_sheet import contact_sheet
from mplframe.data.inspection import SplitInspection
from mplframe.data.inspection import inspect as inspect_dataset
from mplframe.data.pack import PackOptions, ShardLimits, pack_folders, pack_source
from mplframe.data.shards import WebDataset
from mplframe.data.verification import verify, verify_shards
from mplframe.errors import UserError
from mplframe.plugins import Components


def data_pack(
    out: str | Path,
    *,
    labeled: str | Path | None = None,
    unlabeled: str | Path | None = None,
    source: str | Path | None = None,
    format: str = "auto",
    split: Any = None,
    labels: int | None = None,
    test: str | None = None,
    seed: int = 0,
    shard_size: int = 10_000,
    keep_truth: bool = False,
    skip_damaged: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Make WebDataset shards of two folders of images, or of one dataset on disk; see `mplframe.data.pack`.

    Raises:
        UserError: neither or both are given, or something is missing.
    """
    options = PackOptions(
        limits=ShardLimits(max_count=shard_size),
        seed=seed,
        damaged="skip" if skip_damaged else "error",
        overwrite=overwrite,
    )
    held_out = _amount(test)
    if (source is None) == (labeled is None):
        raise UserError("give either --labeled DIR (with --unlabeled DIR), or --source PATH, which is split by itself")
    if source is None:
        assert labeled is not None
        if split is not None or labels is not None:
            raise UserError("--split and --labels divide a --source; folders are divided already")
        report = pack_folders(out, labeled=labeled, unlabeled=unlabeled, test=held_out, options=options)
    else:
        if unlabeled is not None or isinstance(held_out, str):
            raise UserError("a --source is divided by --labels and --test N or FRACTION; it takes no folders beside it")
        report = pack_source(
            out,
            source=source,
            format=format,
            split=split,
            labeled=labels,
            test=held_out,
            keep_truth=keep_truth,
            options=options,
        )
    return {
        "out": str(report.out),
        "classes": list(report.classes),
        "samples": {name: packed.samples for name, packed in report.splits.items()},
        "shards": {name: [shard.file for shard in packed.shards] for name, packed in report.splits.items()},
        "notes": list(report.notes),
    }


def data_inspect(
    target: str,
    *,
    overrides: Sequence[str] = (),
    sheet: str | Path | None = None,
    installed: Components | None = None,
) -> dict[str, Any]:
    """What a dataset holds.

    Args:
        target: a config file, a folder made by `data_pack`, or the URL of shards.
        overrides: of the config file.
        sheet: a PNG to draw some samples to.
        installed: what names may refer to.
    """
    source, _ = open_dataset(target, overrides, installed or components())
    found = inspect_dataset(source)
    if sheet is not None:
        name = next(iter(found.splits))
        split = source.split(name)
        assert split is not None
        contact_sheet(split, found.classes, sheet)
    return {
        "classes": list(found.classes),
        "splits": {name: _split_facts(split) for name, split in found.splits.items()},
        "problems": [asdict(problem) for problem in found.problems],
    }


def _split_facts(split: SplitInspection) -> dict[str, Any]:
    # JSON has no keys of numbers.
    sizes = [{"shape": list(shape), "samples": count} for shape, count in split.image_sizes.items()]
    return {**asdict(split), "image_sizes": sizes}


def data_verify(
    target: str, *, overrides: Sequence[str] = (), installed: Components | None = None
) -> list[dict[str, Any]]:
    """Everything that is wrong with a dataset, after reading and decoding all of it; arguments as of `data_inspect`."""
    source, config = open_dataset(target, overrides, installed or components())
    found = verify_shards(config) if isinstance(config, WebDataset.Config) else verify(source)
    return [asdict(problem) for problem in found]


def _amount(text: str | None) -> str | int | float | None:
    """A number of samples, a fraction below 1, or else a path."""
    for kind in (int, float):
        try:
            return None if text is None else kind(text)
        except ValueError:
            continue
    return text
