"""The verb of searching. Importing this imports no torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mplframe.cli.shared import JsonOption, ProfileOption, SetOption, answer


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
    from mplframe.report.sweep_table import sweep_table

    optional("optuna", "optuna")
    from mplframe.search.parameters import parse_range
    from mplframe.search.report import report as written
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
