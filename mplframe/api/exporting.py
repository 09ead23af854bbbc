"""A trained network as a file that needs no mplframe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mplframe.api.trained import load_trained
from mplframe.checkpoint.files import write_atomic
from mplframe.errors import UserError, optional
from mplframe.plugins import Components

FORMATS = (".pt2", ".onnx")
FACTS = "mplframe.json"
ONNX_BYTES = 2**31
ON_CPU = "backend={name: single, device: cpu}"


def export(
    target: str | Path,
    out: str | Path,
    *,
    checkpoint: str = "last",
    role: str | None = None,
    overrides: Sequence[str] = (),
    installed: Components | None = None,
) -> dict[str, Any]:
    """Write a network with its normalisation, for any N.

    It takes uint8 [N, C, H, W] pixels, of clips [N, T, C, H, W], and gives float32 [N, classes] logits.

    Args:
        target: a run folder, or one of its checkpoints.
        out: `.pt2` for `torch.export.load`, with the facts in the extra file `mplframe.json`; or `.onnx`, with the
            facts as JSON under `mplframe` in its metadata.
        checkpoint: of a run folder: `last` or `best`.
        role: which network; the one that the run is for by default.
        overrides: changes to the run's configuration.
        installed: what names may refer to.

    Returns:
        The facts: `role`, `stage`, `step`, `classes` (names in index order) and `input` (shape of one sample).

    Raises:
        UserError: another suffix, a package is missing, or the network can't be exported.
    """
    path = Path(out)
    if path.suffix not in FORMATS:
        raise UserError(f"--out {path}: networks are exported as .pt2 or .onnx, not {path.suffix or 'without suffix'}")
    if path.suffix == ".onnx":
        optional("onnxscript", "mplframe[onnx]")
    trained = load_trained(target, checkpoint=checkpoint, overrides=[*overrides, ON_CPU], installed=installed)
    role, network = trained.network(role)
    shape = trained.live.spec.pixels(trained.size)
    facts = {
        "role": role,
        "stage": trained.stage,
        "step": trained.step,
        "classes": list(trained.classes),
        "input": list(shape),
    }
    if path.suffix == ".onnx" and sum(p.nbytes for p in network.parameters()) >= ONNX_BYTES:
        raise UserError(f"--out {path}: the {role} has over 2 GiB of weights, more than an .onnx file holds; take .pt2")
    program = _traced(network, torch.zeros((2, *shape), dtype=torch.uint8), name=f"the {role} of {target}")
    write_atomic(path, lambda file: _write(program, file, path.suffix, facts))
    return {**facts, "out": str(out)}


def _traced(network: nn.Module, images: Tensor, *, name: str) -> ExportedProgram:
    try:
        return torch.export.export(network.eval(), (images,), dynamic_shapes=({0: Dim("batch")},))
    except Exception as error:  # tracing runs the network's own code, which may raise anything
        first = str(error).strip().partition("\n")[0]
        raise UserError(f"{name} can't be exported by torch.export: {type(error).__name__}: {first}") from error


def _write(program: ExportedProgram, file: BinaryIO, suffix: str, facts: Mapping[str, Any]) -> None:
    if suffix == ".pt2":
        torch.export.save(program, file, extra_files={FACTS: json.dumps(facts)})
        return
    found = torch.onnx.export(program, dynamo=True, verbose=False, input_names=["images"], output_names=["logits"])
    assert found is not None, "dynamo=True gives a program"
    model = found.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = "mplframe", json.dumps(facts)
    file.write(model.SerializeToString())
