"""The command line: every verb is one call into `mplframe.api`. Importing this imports no torch."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from mplframe.cli import select as selection
from mplframe.cli.data import data_app
from mplframe.cli.select import sweep, transfer
from mplframe.cli.shared import (
    CheckpointOption,
    ConfigArgument,
    JsonOption,
    ProfileOption,
    RoleOption,
    RunArgument,
    SetOption,
    TrustOption,
    answer,
)
from mplframe.errors import MplframeError, UserError

app = typer.Typer(
    name="mplframe",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
config_app = typer.Typer(
    help="Look at configurations: show, validate, schema.", no_args_is_help=True, rich_markup_mode=None
)
plugins_app = typer.Typer(help="What is installed: list, doctor.", no_args_is_help=True, rich_markup_mode=None)
selection.add_to(app)
app.command(epilog="Example: mplframe sweep examples/sweep.yaml --jobs 2")(sweep)
app.command(epilog="Example: mplframe transfer runs/student birds/")(transfer)
app.add_typer(config_app, name="config")
app.add_typer(data_app, name="data")
app.add_typer(plugins_app, name="plugins")


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"mplframe {version('mplframe')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and exit.")
    ] = False,
) -> None:
    """Teacher/student semi-supervised learning: Meta Pseudo Labels and its relatives."""


@app.command(epilog="Example: mplframe run examples/quickstart.yaml --out runs/first --set method.steps=500")
def run(
    config: ConfigArgument,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The run folder.")] = None,
    overrides: SetOption = None,
    profile: ProfileOption = None,
    resume: Annotated[
        str,
        typer.Option(
            metavar="auto|never|PATH",
            help="auto goes on from the newest checkpoint in the run folder; never starts over and removes what an "
            "earlier run left there; PATH is a checkpoint or another run folder.",
        ),
    ] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train, evaluate and leave everything in the run folder."""
    from mplframe import api
    from mplframe.report.tables import summary_table

    loaded = api.load(config, overrides=overrides or [], profile=profile)
    folder = out if out is not None else Path(loaded.out)
    summary = api.run(loaded, out=folder, resume=resume, command=sys.argv)
    if os.environ.get("RANK", "0") != "0":  # torchrun's other processes would say the same
        return
    answer(summary, as_json, lambda: summary_table(summary, folder))


@app.command(epilog="Example: mplframe plan examples/imagenet_l2.yaml --device h100:8")
def plan(
    config: ConfigArgument,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME[:COUNT]", help="Say whether it fits on these devices, and how long it takes."),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Of a device, such as 24GiB, instead of the named one's.")
    ] = None,
    flops: Annotated[
        float | None, typer.Option(metavar="RATE", help="Peak FLOP/s of a device, such as 100e12, likewise.")
    ] = None,
    utilisation: Annotated[float, typer.Option(help="Share of the peak that training is taken to reach.")] = 0.4,
    overrides: SetOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a run would cost, without touching data or taking memory."""
    from mplframe import api
    from mplframe.planning.devices import find_devices
    from mplframe.report.plan import plan_table

    devices = find_devices(device, memory=memory, flops=flops, utilisation=utilisation)
    loaded = api.load(config, overrides=overrides or [], profile=profile)
    cost = api.plan(loaded, devices=devices).to_json()
    answer(cost, as_json, lambda: plan_table(cost))


@app.command("eval", epilog="Example: mplframe eval runs/quickstart --checkpoint best --json")
def evaluate(
    target: RunArgument,
    data: Annotated[
        str | None,
        typer.Argument(metavar="[FOLDER]", help="One subfolder of images a class; the run's own split by default."),
    ] = None,
    checkpoint: Annotated[
        str, typer.Option(help="Of a run folder: `last` (the newest) or `best`.", metavar="last|best")
    ] = "last",
    role: RoleOption = None,
    overrides: SetOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Judge the networks of a run on its split, or a folder of class folders; --set data.test=URL gives it shards."""
    from mplframe import api
    from mplframe.report.tables import networks_table

    results = api.evaluate(target, data=data, checkpoint=checkpoint, role=role, overrides=overrides or [], trust=trust)
    answer(results, as_json, lambda: networks_table(results))


@app.command(epilog="Example: mplframe predict runs/quickstart photos/ --out labels.csv")
def predict(
    target: RunArgument,
    images: Annotated[str, typer.Argument(metavar="IMAGES", help="A folder of images, or the URL of shards.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A .csv or .parquet file.")],
    checkpoint: CheckpointOption = "last",
    role: RoleOption = None,
    overrides: SetOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Classify images: one row each, with the class's name and every class's probability."""
    from mplframe import api

    summary = api.predict(target, images, out, checkpoint=checkpoint, role=role, overrides=overrides or [], trust=trust)
    answer(summary, as_json, lambda: f"{summary['samples']} predictions by the {summary['role']} are in {out}")


@app.command(epilog="Example: mplframe export runs/quickstart --out student.pt2")
def export(
    target: RunArgument,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A .pt2 (torch.export) or .onnx file.")],
    checkpoint: CheckpointOption = "last",
    role: RoleOption = None,
    overrides: SetOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a network that needs no mplframe: uint8 pixels in, logits out, any number of images at once."""
    from mplframe import api

    facts = api.export(target, out, checkpoint=checkpoint, role=role, overrides=overrides or [], trust=trust)
    answer(facts, as_json, lambda: f"the {facts['role']} takes {facts['input']} pixels of an image; it is in {out}")


@config_app.command("show", epilog="Example: mplframe config show examples/quickstart.yaml --set method.feedback=dot")
def config_show(
    config: ConfigArgument, overrides: SetOption = None, profile: ProfileOption = None, as_json: JsonOption = False
) -> None:
    """Print the whole configuration, defaults and overrides included."""
    from mplframe import api
    from mplframe.config.load import dump

    data = api.load(config, overrides=overrides or [], profile=profile).dump()
    answer(data, as_json, lambda: dump(data).rstrip())


@config_app.command("validate", epilog="Example: mplframe config validate examples/quickstart.yaml")
def config_validate(
    config: ConfigArgument, overrides: SetOption = None, profile: ProfileOption = None, as_json: JsonOption = False
) -> None:
    """Check each setting; exit code 2 and every problem with its path. `plan` also checks that they go together."""
    from mplframe import api

    api.load(config, overrides=overrides or [], profile=profile)
    answer({"valid": True, "config": str(config)}, as_json, lambda: f"{config} is valid")


@config_app.command("schema", epilog="Example: mplframe config schema > mplframe.schema.json")
def config_schema() -> None:
    """Print the JSON schema of configurations, with everything that is installed, for an editor to complete from."""
    from mplframe import api

    print(json.dumps(api.schema(), indent=2))


@app.command(epilog="Example: mplframe doctor --json")
def doctor(as_json: JsonOption = False) -> None:
    """What this environment has: versions, devices, backends and why one can't run, optional packages, data sets.

    It describes and exits with 0; `mplframe plugins doctor` checks what is registered.
    """
    from mplframe import api
    from mplframe.report.tables import environment_table

    found = api.doctor()
    answer(found, as_json, lambda: environment_table(found))


@plugins_app.command("list", epilog="Example: mplframe plugins list --kind feedback")
def plugins_list(
    kind: Annotated[str | None, typer.Option(help="Only components of this kind.")] = None, as_json: JsonOption = False
) -> None:
    """Every component by kind and name, and which plugin it comes from; plugins that couldn't be loaded, and why."""
    from mplframe.plugins import discover
    from mplframe.report.tables import plugins_table

    found = discover()
    if kind is not None and kind not in found.registries:
        raise UserError(f"no kind of component is named {kind!r} (kinds: {', '.join(found.registries)})")
    listing = found.listing(kind)
    answer(listing, as_json, lambda: plugins_table(listing))


@plugins_app.command("doctor", epilog="Example: mplframe plugins doctor")
def plugins_doctor(as_json: JsonOption = False) -> None:
    """Import every component and check it against its contract; exit code 2 if any is broken."""
    from mplframe.plugins import discover

    problems = discover().examine()
    answer({"problems": problems}, as_json, lambda: "\n".join(problems) or "every component is sound")
    if problems:
        raise typer.Exit(2)


def main() -> None:
    """The console script: user errors end with exit code 2 and one message, failures of a run with 1."""
    for stream in (sys.stdout, sys.stderr):
        # Names that aren't UTF-8, and what the terminal can't show, are printed as escapes.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except MplframeError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        # The reader of our output has gone away, as `head` does.
        sys.stderr.close()
        raise SystemExit(1) from None


def _fail(message: str, code: int) -> NoReturn:
    print(f"mplframe: {message}", file=sys.stderr)
    raise SystemExit(code)
