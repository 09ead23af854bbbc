"""The verbs of selection: every one is one call into `mplframe.api`. Importing this imports no torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mplframe.cli.shared import (
    CheckpointOption,
    JsonOption,
    ProfileOption,
    RoleOption,
    RunArgument,
    SetOption,
    TrustOption,
    answer,
)


def label(
    target: RunArgument,
    images: Annotated[
        str, typer.Argument(metavar="IMAGES", help="A config file, a packed or plain folder, or the URL of shards.")
    ],
    out: Annotated[str, typer.Option("--out", metavar="URL", help="The folder for the scores, on any store.")],
    split: Annotated[
        Literal["labeled", "unlabeled", "test"], typer.Option(help="Of a dataset that has several.")
    ] = "unlabeled",
    checkpoint: CheckpointOption = "last",
    role: RoleOption = None,
    top_p: Annotated[int, typer.Option(min=1, help="How many of the most probable classes are kept.")] = 10,
    distribution: Annotated[
        Literal["float16", "float32"] | None, typer.Option(help="Keep every class's probability too, in this type.")
    ] = None,
    embedding: Annotated[bool, typer.Option(help="Keep embeddings, for `mplframe duplicates`.")] = False,
    tags: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Keep the tags under this key of each .json, for `select` with tags."),
    ] = None,
    tag_classes: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="JSON: the class of each tag; by default a tag is a class's name."),
    ] = None,
    overrides: SetOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score images, shard by shard; the same command goes on where it stopped, and shares the work under torchrun."""
    from mplframe import api

    found = api.label(
        target,
        images,
        out,
        split=split,
        checkpoint=checkpoint,
        role=role,
        overrides=overrides or [],
        trust=trust,
        top_p=top_p,
        distribution=distribution,
        embedding=embedding,
        tags=tags,
        tag_classes=tag_classes,
        done=None if as_json else _tell,
    )
    answer(found, as_json, lambda: f"{found['shards']} shards scored by the {found['role']} are in {out}")


def select(
    scores: Annotated[str, typer.Argument(metavar="SCORES", help="A folder made by `mplframe label`.")],
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="The manifest, Parquet, on any store.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting, such as top_k=16000, top_p=10, threshold=0.3."),
    ] = None,
    dropped: Annotated[
        str | None, typer.Option(metavar="FILE", help="Also list every image that wasn't selected, and why.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write the report as JSON, a figure, and examples of each class."),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="FILE", help="The names of the classes, for the report.")
    ] = None,
    memory_gib: Annotated[float, typer.Option(help="Memory to use, in GiB.")] = 4.0,
    threads: Annotated[int, typer.Option(min=1, help="Threads to use.")] = 2,
    scratch: Annotated[str | None, typer.Option(metavar="DIR", help="For what doesn't fit into memory.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Choose images by their scores: threshold, the best of each class, balance; writes a manifest and a report."""
    from mplframe import api
    from mplframe.report.tables import selection_table
    from mplframe.selection.config import ResourceConfig

    resources = ResourceConfig(memory_gib=memory_gib, threads=threads, scratch=scratch)
    found = api.select(
        scores, out, overrides=overrides or [], dropped=dropped, report=report, classes=classes, resources=resources
    )
    answer(found, as_json, lambda: selection_table(found))


def duplicates(
    scores: Annotated[str, typer.Argument(metavar="SCORES", help="Of the unlabeled images, with embeddings.")],
    test: Annotated[str, typer.Argument(metavar="TEST", help="Scores of the test images, by the same network.")],
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="The list, Parquet, for `exclude`.")],
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Cosine similarity of a copy.")] = 0.95,
    threads: Annotated[int, typer.Option(min=1, help="Threads to use.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Find unlabeled images that are copies of test images; `select --set exclude.copies=FILE` leaves them out."""
    from mplframe import api

    found = api.duplicates(scores, test, out, threshold=threshold, threads=threads)
    answer(found, as_json, lambda: f"{found['copies']} copies of test images are listed in {out}")


def _tell(done: int, total: int) -> None:
    typer.echo(f"{done} of {total} shards", err=True)


def add_to(app: Any) -> None:
    """Register the verbs."""
    app.command(epilog="Example: mplframe label runs/teacher 's3://photos/{000..999}.tar' --out scores/")(label)
    app.command(epilog="Example: mplframe select scores/ --out best.parquet --set top_p=10 --set top_k=16000")(select)
    app.command(epilog="Example: mplframe duplicates scores/ test-scores/ --out copies.parquet")(duplicates)


def transfer(
    target: RunArgument,
    data: Annotated[str, typer.Argument(metavar="DATASET", help="A config file, or a folder made by `data pack`.")],
    checkpoint: CheckpointOption = "last",
    role: RoleOption = None,
    strength: Annotated[
        float | None, typer.Option(help="Inverse of the regularisation; chosen by cross-validation if not given.")
    ] = None,
    overrides: SetOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Judge a network's features by a logistic regression on other data; its classes needn't be the network's.

    Full finetuning is a run of `supervised` with the network {name: trained, run: RUN, head: new}: see
    examples/transfer.yaml.
    """
    from mplframe import api

    found = api.transfer(
        target, data, checkpoint=checkpoint, role=role, strength=strength, overrides=overrides or [], trust=trust
    )
    answer(
        found,
        as_json,
        lambda: (
            f"{100 * found['top1']:.2f} % top-1 on {found['test']} test samples, from {found['features']} features "
            f"of {found['labeled']} labeled samples"
        ),
    )


def sweep(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG|SWEEP", help="A YAML file; with --report the folder of a sweep.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The folder; by default sweeps/ and the name of the file."),
    ] = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            metavar="KEY=LOW:HIGH[:log]",
            help="Search a setting, or KEY=[A, B] for choices; may be given often. Wins over the file's sweep.ranges.",
        ),
    ] = None,
    overrides: SetOption = None,
    profile: ProfileOption = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at once, a process each.")] = 1,
    resume: Annotated[
        str, typer.Option(metavar="auto|never", help="never removes what an earlier sweep left in the folder.")
    ] = "auto",
    report: Annotated[bool, typer.Option("--report", help="Only say what a sweep has found so far.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Search for better settings: trials are runs; the same command goes on where it was stopped or killed."""
    from mplframe import api
    from mplframe.errors import optional
    from mplframe.report.tables import sweep_table

    optional("optuna", "optuna")
    from mplframe.search.folder import report as written
    from mplframe.search.parameters import parse_range
    from mplframe.search.sweep import sweep as searched

    if report:
        found = written(config)
    else:
        found = searched(
            api.load(config, overrides=overrides or [], profile=profile),
            out=out if out is not None else Path("sweeps") / config.stem,
            ranges=dict(parse_range(text) for text in ranges or []),
            jobs=jobs,
            resume=resume,
            tell=lambda text: typer.echo(text, err=True),
            command=sys.argv,
        )
    answer(found, as_json, lambda: sweep_table(found))
