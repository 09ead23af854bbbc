"""What the verbs of the command line have in common: arguments, options, and how an answer is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from mplframe.io.files import json_text

ConfigArgument = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as examples/quickstart.yaml.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN|CHECKPOINT", help="A run folder or one of its checkpoints.")]
CheckpointOption = Annotated[str, typer.Option(help="`last` (the newest) or `best`.", metavar="last|best")]
RoleOption = Annotated[
    str | None,
    typer.Option(
        help="Which network, such as teacher or the baseline supervised; by default the one that the run is for."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one setting; may be given often. Wins over the file."),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Let settings of a run that isn't yours name functions, URLs and files outside its folder.",
    ),
]
ProfileOption = Annotated[
    str | None, typer.Option("--profile", help="A name below the file's `profiles`, such as smoke.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")]


def answer(data: Any, as_json: bool, text: Callable[[], Any]) -> None:
    """Write to stdout: `data` as one line of JSON, or what `text` returns, a string or something of rich's."""
    if as_json:
        typer.echo(json_text(data))
        return
    shown = text()
    if isinstance(shown, str):
        typer.echo(shown)
        return
    from rich.console import Console

    console = Console(markup=False, emoji=False)
    # A pipe has no width of its own: nothing there needs wrapping.
    (console if console.is_terminal else Console(width=200, markup=False, emoji=False)).print(shown)
