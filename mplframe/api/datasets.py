"""Datasets: made, divided, indexed, looked at, checked."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mplframe.api.configs import components
from mplframe.builders import build_run, open_dataset
from mplframe.config.run import RunConfig
from mplframe.data.inspecting.indexing import index_shards
from mplframe.data.inspecting.inspection import SPLITS, SplitInspection, verify, verify_shards
from mplframe.data.inspecting.inspection import inspect as inspect_dataset
from mplframe.data.inspecting.sheets import contact_sheet, preview_sheet
from mplframe.data.packing.lists import write_manifest
from mplframe.data.packing.pack import PackOptions, PackReport, ShardLimits, pack_folders, pack_manifest, pack_source
from mplframe.data.packing.packing import Progress
from mplframe.data.packing.partition import Amount, divide
from mplframe.data.readers.parquet import Columns
from mplframe.data.readers.shards import open_packed
from mplframe.data.shards.members import ANY_CLASS
from mplframe.data.shards.source import WebDataset
from mplframe.errors import UserError
from mplframe.plugins import Components


def data_pack(
    out: str | Path,
    *,
    labeled: str | Path | None = None,
    unlabeled: str | Path | None = None,
    source: str | Path | None = None,
    format: str = "auto",
    columns: Columns | None = None,
    split: Any = None,
    labels: str | Amount | None = None,
    test: str | Amount | None = None,
    choose: Any = "stratified",
    keep_truth: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Make WebDataset shards of two folders of images, or of one dataset.

    Args:
        out: a folder, or the URL of a place in a store.
        labeled: a folder with one subfolder of images a class; with it, perhaps, `unlabeled`, a folder of images.
        source: instead of folders, a dataset, which `format`, `columns`, `split`, `labels` (how many stay labeled) and
            `choose` are of; see `mplframe.data.packing.pack.pack_source`.
        test: a folder like `labeled`, or how many samples are held out: a number or a fraction.
        keep_truth: keep the labels of unlabeled samples.
        progress: told how far it is.
        options: seed, shard_size (samples), shard_mb (MiB), skip_damaged, overwrite and workers.

    Raises:
        UserError: neither or both are given, or something is missing.
    """
    settings, held_out = _options(**options), _amount(test)
    if (source is None) == (labeled is None):
        raise UserError("give either --labeled DIR (with --unlabeled DIR), or --source PATH, which is split by itself")
    if labeled is not None:
        if split is not None or labels is not None or columns not in (None, Columns()):
            raise UserError("--split, --labels and columns are of a --source; folders are divided already")
        return _packed(
            pack_folders(out, labeled=labeled, unlabeled=unlabeled, test=held_out, options=settings, progress=progress)
        )
    assert source is not None
    if unlabeled is not None or isinstance(held_out, str):
        raise UserError("a --source is divided by --labels and --test N or FRACTION; it takes no folders beside it")
    layout: dict[str, Any] = {"format": format, "columns": columns}
    division: dict[str, Any] = {"split": split, "labeled": _number("--labels", labels), "test": held_out}
    report = pack_source(
        out,
        source=source,
        choice=choose,
        keep_truth=keep_truth,
        options=settings,
        progress=progress,
        **layout,
        **division,
    )
    return _packed(report)


def data_split(
    source: str,
    out: str | Path,
    *,
    classes: str | None = None,
    split: Any = None,
    labels: str | Amount | None = None,
    test: str | Amount | None = None,
    choose: Any = "stratified",
    keep_truth: bool = False,
    manifest: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Divide the labeled samples of a packed dataset, or of shards, into labeled, unlabeled and test ones.

    Args:
        source: a packed folder, local or in a store, or the URL of shards.
        out: where the divided dataset goes.
        classes: of shards by URL: how many there are, or the file of their names; else they are taken from the labels.
        manifest: write only lists of keys, which leave the shards as they are.

    The other arguments are those of `data_pack`.

    Raises:
        UserError: settings contradict each other, or something is missing.
    """
    settings = _options(**options)
    labeled, held_out = _number("--labels", labels), _number("--test", test)
    if split is None and labeled is None and held_out is None:
        raise UserError("say how to divide: --labels N or FRACTION, --test N or FRACTION, or --split of the papers")
    opened = open_packed(source, classes, skip_damaged=settings.damaged == "skip")
    division: dict[str, Any] = {"split": split, "labeled": labeled, "test": held_out, "choice": choose}
    if not manifest:
        report = pack_source(out, source=opened, keep_truth=keep_truth, options=settings, progress=progress, **division)
        return _packed(report)
    parts = divide(opened, seed=settings.seed, **division)
    said = {"source": source, "seed": settings.seed, **division}
    counts = write_manifest(out, parts, source=said, overwrite=settings.overwrite)
    return {"out": str(out), "classes": list(opened.train.classes), "samples": counts, "notes": list(opened.notes)}


def data_collect(
    manifest: str,
    out: str | Path,
    *,
    classes: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Make shards of the images that a manifest names; see `mplframe.data.packing.pack.pack_manifest`.

    Args:
        manifest: made by `select`, from scores of shards.
        out: a folder, or the URL of a place in a store.
        classes: how many there are, or the file of their names; they are named by number by default.
        progress: told how far it is.
        options: as of `data_pack`.
    """
    named = int(classes) if classes is not None and classes.isdigit() else classes
    return _packed(pack_manifest(out, manifest=manifest, classes=named, options=_options(**options), progress=progress))


def data_index(
    target: str, *, overrides: Sequence[str] = (), check: bool = False, installed: Components | None = None
) -> list[dict[str, Any]]:
    """Make the index beside every shard of a dataset where none fits, or see which would have to be made.

    Args:
        target: a config file, a folder made by `data_pack`, or the URL of shards.
        overrides: of the config file.
        check: write nothing.
        installed: what names may refer to.

    Returns:
        For each shard its URL, `state`, number of samples and of damaged ones; see `indexing.IndexedShard`.
    """
    source, config = open_dataset(target, overrides, installed or components())
    if not isinstance(source, WebDataset):
        raise UserError(f"{target}: the dataset {config.name!r} isn't made of shards, so there is nothing to index")
    urls = [given for name in SPLITS if (given := getattr(config, name)) is not None]
    return [asdict(shard) for given in urls for shard in index_shards(given, source.storage, make=not check)]


def data_preview(
    config: RunConfig, out: str | Path, *, samples: int = 8, step: int = 0, installed: Components | None = None
) -> dict[str, Any]:
    """Draw what networks see at a step of a run's first stage of its method: both views of both streams.

    Args:
        config: of the run.
        out: the PNG to write.
        samples: of each stream.
        step: of the stage, from 0.
        installed: what names may refer to.

    Returns:
        `out`, `stage`, `step`, and the names of the `rows` from top to bottom.
    """
    if samples < 1 or step < 0:
        raise UserError(f"give at least one sample and a step from 0, not {samples} and {step}")
    live = build_run(config, installed or components())
    stage = next(stage for stage in live.training if stage.main)
    if step >= stage.plan.steps:
        raise UserError(f"the stage {stage.name} has the steps 0 to {stage.plan.steps - 1}; there is no step {step}")
    with closing(iter(live.streams.batches(stage, step))) as batches:  # type: ignore[type-var]
        batch = next(batches)
    rows = preview_sheet(batch, live.source.classes, out, samples)
    return {"out": str(out), "stage": stage.name, "step": step, "rows": rows}


def data_inspect(
    target: str,
    *,
    overrides: Sequence[str] = (),
    limit: int | None = 2_000,
    sheet: str | Path | None = None,
    installed: Components | None = None,
) -> dict[str, Any]:
    """What a dataset holds.

    Args:
        target: a config file, a folder made by `data_pack`, or the URL of shards.
        overrides: of the config file.
        limit: samples of each split that are looked at; None for all.
        sheet: a PNG to draw some samples to.
        installed: what names may refer to.

    Returns:
        Plain JSON values. `classes` is empty where nothing says which there are; labels are numbers then.
    """
    source, config = open_dataset(target, overrides, installed or components())
    found = inspect_dataset(source, limit, config=config)
    if sheet is not None:
        name = next(iter(found.splits), None)
        split = None if name is None else source.split(name)
        if split is None:
            raise UserError(f"{target}: no split can be read, so there is nothing to draw: {found.problems[0].reason}")
        contact_sheet(split, found.classes, sheet)
    known = len(found.classes) != ANY_CLASS
    return {
        "classes": list(found.classes) if known else [],
        "splits": {name: _split_facts(split, known) for name, split in found.splits.items()},
        "problems": [asdict(problem) for problem in found.problems],
    }


def _split_facts(split: SplitInspection, classes_known: bool) -> dict[str, Any]:
    # JSON has no keys of numbers.
    sizes = [{"shape": list(shape), "samples": count} for shape, count in split.image_sizes.items()]
    counts = {name: count for name, count in split.class_counts.items() if count or classes_known}
    return {**asdict(split), "image_sizes": sizes, "class_counts": counts}


def data_verify(
    target: str, *, overrides: Sequence[str] = (), installed: Components | None = None
) -> list[dict[str, Any]]:
    """Everything that is wrong with a dataset, after reading and decoding all of it; arguments as of `data_inspect`."""
    source, config = open_dataset(target, overrides, installed or components())
    found = verify_shards(config) if isinstance(config, WebDataset.Config) else verify(source)
    return [asdict(problem) for problem in found]


def _packed(report: PackReport) -> dict[str, Any]:
    return {
        "out": report.out,
        "classes": list(report.classes),
        "samples": {name: packed.samples for name, packed in report.splits.items()},
        "shards": {name: [shard.file for shard in packed.shards] for name, packed in report.splits.items()},
        "notes": list(report.notes),
    }


def _options(
    *,
    seed: int = 0,
    shard_size: int = 10_000,
    shard_mb: float = 256,
    skip_damaged: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
) -> PackOptions:
    if workers is not None and workers < 0:
        raise UserError(f"--workers must be 0 or more, not {workers}")
    return PackOptions(
        limits=ShardLimits(max_count=shard_size, max_bytes=int(shard_mb * 2**20)),
        seed=seed,
        damaged="skip" if skip_damaged else "error",
        overwrite=overwrite,
        workers=workers,
    )


def _amount(given: str | Amount | None) -> str | Amount | None:
    """A number of samples, a fraction below 1, or else a path."""
    if not isinstance(given, str):
        return given
    for kind in (int, float):
        try:
            return kind(given)
        except ValueError:
            continue
    return given


def _number(option: str, given: str | Amount | None) -> Amount | None:
    amount = _amount(given)
    if isinstance(amount, str):
        raise UserError(f"{option} takes a number of samples or a fraction below 1, not {amount!r}")
    return amount
