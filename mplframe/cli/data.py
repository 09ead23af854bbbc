"""The verbs of `mplframe data`: every one is one call into `mplframe.api.datasets`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mplframe.cli.shared import ConfigArgument, JsonOption, ProfileOption, SetOption, answer

data_app = typer.Typer(
    help="Make and check datasets: pack, split, collect, index, inspect, preview, verify.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

DatasetArgument = Annotated[
    str,
    typer.Argument(metavar="DATASET", help="A config file, a folder made by `data pack`, or the URL of shards."),
]
LabeledOption = Annotated[
    Path | None, typer.Option(help="A folder with one subfolder of images a class.", metavar="DIR")
]
SourceOption = Annotated[
    str | None,
    typer.Option(
        metavar="PATH|URL",
        help="Instead of folders: one dataset that is split into labeled, unlabeled and test. By URL: a CSV, JSON "
        "lines or Parquet file, or a folder of Parquet files.",
    ),
]
TestOption = Annotated[
    str | None,
    typer.Option(
        metavar="DIR|N|FRACTION", help="A folder like --labeled, or a number or fraction of samples to hold out."
    ),
]
FormatOption = Annotated[
    Literal[
        "auto",
        "folder",
        "imagefolder",
        "csv",
        "jsonl",
        "parquet",
        "idx",
        "numpy",
        "cifar10",
        "cifar100",
        "svhn",
        "stl10",
    ],
    typer.Option("--format", help="Layout of --source."),
]
SplitOption = Annotated[
    Literal[
        "cifar10-4k",
        "cifar10-4k-v1",
        "svhn-1k",
        "imagenet-1",
        "imagenet-10",
        "imagenet-20",
        "imagenet-40",
        "imagenet-80",
    ]
    | None,
    typer.Option(
        help="A split of the papers (MPL v4, C.1), in file order; images to tune on become held_out-*.tar, "
        "to be named as data.test."
    ),
]
LabelsOption = Annotated[
    str | None,
    typer.Option("--labels", metavar="N|FRACTION", help="How many samples stay labeled; the rest become unlabeled."),
]
ChooseOption = Annotated[
    Literal["stratified", "in-order"],
    typer.Option(help="How --labels and --test choose: each class alike at random, or the first ones."),
]
SeedOption = Annotated[int, typer.Option(help="Of the split and the order in the shards.")]
ShardSizeOption = Annotated[int, typer.Option(help="Samples a shard, at most.")]
ShardMbOption = Annotated[float, typer.Option(help="MiB a shard, at most.")]
KeepTruthOption = Annotated[bool, typer.Option(help="Keep the labels of unlabeled samples, for diagnostics.")]
SkipDamagedOption = Annotated[bool, typer.Option(help="Leave out what is damaged, and list it.")]
WorkersOption = Annotated[
    int | None, typer.Option(help="Threads that read and check images; one a core by default.", show_default=False)
]
OverwriteOption = Annotated[
    bool, typer.Option(help="Replace what is in OUT, and drop what another unfinished pack has left.")
]


@data_app.command(
    "pack", epilog="Example: mplframe data pack shards/ --labeled photos/labeled --unlabeled photos/rest --test 0.2"
)
def data_pack(
    out: Annotated[str, typer.Argument(metavar="OUT", help="The folder for the shards, or the URL of one in a store.")],
    labeled: LabeledOption = None,
    unlabeled: Annotated[Path | None, typer.Option(help="A folder of images without labels.", metavar="DIR")] = None,
    source: SourceOption = None,
    format_: FormatOption = "auto",
    image_column: Annotated[str | None, typer.Option(help="Of Parquet files in --source.", metavar="NAME")] = None,
    label_column: Annotated[str | None, typer.Option(help="Of lists in --source.", metavar="NAME")] = None,
    split: SplitOption = None,
    labels: LabelsOption = None,
    test: TestOption = None,
    choose: ChooseOption = "stratified",
    seed: SeedOption = 0,
    shard_size: ShardSizeOption = 10_000,
    shard_mb: ShardMbOption = 256,
    keep_truth: KeepTruthOption = False,
    skip_damaged: SkipDamagedOption = False,
    workers: WorkersOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn images into WebDataset shards: OUT/labeled-*.tar, unlabeled-*.tar, test-*.tar, classes.txt, dataset.json.

    A pack that was killed goes on where it was when the same command is run again.
    """
    from mplframe.api import datasets
    from mplframe.data.readers.parquet import Columns

    with _Progress("packing") as progress:
        report = datasets.data_pack(
            out,
            labeled=labeled,
            unlabeled=unlabeled,
            source=source,
            format=format_,
            columns=Columns(image_column, label_column),
            split=split,
            labels=labels,
            test=test,
            choose=choose,
            seed=seed,
            shard_size=shard_size,
            shard_mb=shard_mb,
            keep_truth=keep_truth,
            skip_damaged=skip_damaged,
            workers=workers,
            overwrite=overwrite,
            progress=progress,
        )
    answer(report, as_json, lambda: _pack_text(report))


@data_app.command("split", epilog="Example: mplframe data split shards/ shards-4000/ --labels 4000 --test 0.1")
def data_split(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A folder made by `data pack`, or its URL, or the URL of shards.")
    ],
    out: Annotated[str, typer.Argument(metavar="OUT", help="The folder for what is divided, or the URL of one.")],
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="N|FILE", help="Of shards by URL: how many classes, or their names; else taken from the labels."
        ),
    ] = None,
    split: SplitOption = None,
    labels: LabelsOption = None,
    test: Annotated[
        str | None, typer.Option(metavar="N|FRACTION", help="A number or fraction of samples to hold out.")
    ] = None,
    choose: ChooseOption = "stratified",
    manifest: Annotated[
        bool, typer.Option("--manifest", help="Write only Parquet lists of key, shard and label, no shards.")
    ] = False,
    seed: SeedOption = 0,
    shard_size: ShardSizeOption = 10_000,
    shard_mb: ShardMbOption = 256,
    keep_truth: KeepTruthOption = False,
    skip_damaged: SkipDamagedOption = False,
    workers: WorkersOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Divide labeled samples into labeled, unlabeled and test ones, in shards of their own."""
    from mplframe.api import datasets

    with _Progress("packing") as progress:
        report = datasets.data_split(
            source,
            out,
            classes=classes,
            split=split,
            labels=labels,
            test=test,
            choose=choose,
            manifest=manifest,
            seed=seed,
            shard_size=shard_size,
            shard_mb=shard_mb,
            keep_truth=keep_truth,
            skip_damaged=skip_damaged,
            workers=workers,
            overwrite=overwrite,
            progress=progress,
        )
    answer(report, as_json, lambda: _pack_text(report))


@data_app.command("index", epilog="Example: mplframe data index 's3://bucket/train-*.tar'")
def data_index(
    target: DatasetArgument,
    overrides: SetOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 2 if an index is missing or doesn't fit.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the index beside each shard, SHARD.tar.idx, with which training starts without reading the shards."""
    from mplframe.api import datasets

    shards = datasets.data_index(target, overrides=overrides or [], check=check)
    answer({"shards": shards}, as_json, lambda: _index_text(shards))
    if any(shard["state"] == "missing" for shard in shards):
        raise typer.Exit(2)


@data_app.command("preview", epilog="Example: mplframe data preview examples/quickstart.yaml --out sheet.png")
def data_preview(
    config: ConfigArgument,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The PNG to write.")],
    samples: Annotated[int, typer.Option(help="Of each stream.")] = 8,
    step: Annotated[int, typer.Option(help="Of the method's first stage.")] = 0,
    overrides: SetOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw what teacher and student see in training: samples with their labels, in the weak and the strong view."""
    from mplframe import api
    from mplframe.api import datasets

    loaded = api.load(config, overrides=overrides or [], profile=profile)
    drawn = datasets.data_preview(loaded, out, samples=samples, step=step)
    answer(
        drawn,
        as_json,
        lambda: f"step {step} of the stage {drawn['stage']} is drawn in {out}: {', '.join(drawn['rows'])}",
    )


@data_app.command("collect", epilog="Example: mplframe data collect best.parquet s3://bucket/best/")
def data_collect(
    manifest: Annotated[str, typer.Argument(metavar="MANIFEST", help="Made by `mplframe select`, a path or URL.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="The folder for the shards, or the URL of one in a store.")],
    classes: Annotated[
        str | None, typer.Option(metavar="N|FILE", help="How many classes, or their names; by default numbers.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the order in the shards.")] = 0,
    shard_size: ShardSizeOption = 10_000,
    shard_mb: ShardMbOption = 256,
    skip_damaged: SkipDamagedOption = False,
    workers: WorkersOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Collect the images that a manifest names, with what was assigned to them, in shards of their own.

    To train on them where they lie, name the manifest in the config: manifest: FILE.
    """
    from mplframe.api import datasets

    with _Progress("packing") as progress:
        report = datasets.data_collect(
            manifest,
            out,
            classes=classes,
            seed=seed,
            shard_size=shard_size,
            shard_mb=shard_mb,
            skip_damaged=skip_damaged,
            workers=workers,
            overwrite=overwrite,
            progress=progress,
        )
    answer(report, as_json, lambda: _pack_text(report))


@data_app.command("inspect", epilog="Example: mplframe data inspect examples/quickstart.yaml --sheet sheet.png")
def data_inspect(
    target: DatasetArgument,
    overrides: SetOption = None,
    limit: Annotated[int, typer.Option(help="Samples of each split to look at; 0 for all.")] = 2_000,
    sheet: Annotated[Path | None, typer.Option(help="Also draw some labeled images to this PNG.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a dataset holds: shards and their sizes, samples, classes, image sizes, damage."""
    from mplframe.api import datasets
    from mplframe.report.tables import dataset_table

    found = datasets.data_inspect(target, overrides=overrides or [], limit=limit or None, sheet=sheet)
    answer(found, as_json, lambda: dataset_table(found))


@data_app.command("verify", epilog="Example: mplframe data verify shards/")
def data_verify(target: DatasetArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Read and decode every sample of a dataset; exit code 2 if anything would stop training."""
    from mplframe.api import datasets

    problems = datasets.data_verify(target, overrides=overrides or [])
    answer({"problems": problems}, as_json, lambda: "\n".join(map(_problem_text, problems)) or "every sample is whole")
    if problems:
        raise typer.Exit(2)


def _pack_text(report: dict[str, Any]) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in report["samples"].items())
    lines = [f"{counts} samples of {len(report['classes'])} classes are in {report['out']}", *report["notes"]]
    return "\n".join(lines)


def _index_text(shards: list[dict[str, Any]]) -> str:
    states = Counter(shard["state"] for shard in shards)
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    damaged = [f"{shard['shard']}: {shard['damaged']} damaged" for shard in shards if shard["damaged"]]
    missing = [f"{shard['shard']}: no index that fits" for shard in shards if shard["state"] == "missing"]
    return "\n".join([f"{len(shards)} indexes: {counts}", *missing, *damaged])


class _Progress:
    """A bar on stderr, where that is a terminal; called with how much is done, and of how much."""

    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True, markup=False, emoji=False)
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(what, total=None)

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total)


def _problem_text(problem: dict[str, Any]) -> str:
    return f"{problem['split']} {problem['shard']}: {problem['reason']}"
