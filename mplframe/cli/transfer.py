"""The verb of transfer learning. Importing this imports no torch."""

from __future__ import annotations

from typing import Annotated

import typer

from mplframe.cli.shared import CheckpointOption, JsonOption, RoleOption, RunArgument, SetOption, answer


def transfer(
    target: RunArgument,
    data: Annotated[str, typer.Argument(metavar="DATASET", help="A config file, or a folder made by `data pack`.")],
    checkpoint: CheckpointOption = "last",
    role: RoleOption = None,
    strength: Annotated[
        float | None, typer.Option(help="Inverse of the regularisation; chosen by cross-validation if not given.")
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a network's features by a logistic regression on other data; its classes needn't be the network's.

    Full finetuning is a run of `supervised` with the network {name: trained, run: RUN, head: new}: see
    examples/transfer.yaml.
    """
    from mplframe import api

    found = api.transfer(target, data, checkpoint=checkpoint, role=role, strength=strength, overrides=overrides or [])
    answer(
        found,
        as_json,
        lambda: (
            f"{100 * found['top1']:.2f} % top-1 on {found['test']} test samples, from {found['features']} features "
            f"of {found['labeled']} labeled samples"
        ),
    )
