"""Files of tensors and plain values; of the same form whatever backend wrote them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from mplframe.checkpoint import shards
from mplframe.checkpoint.files import write_atomic
from mplframe.errors import CheckpointError

WHOLE, IN_PARTS = 1, 2
"""Formats: all tensors are in the file; some are in a folder of shards beside it."""
SHARDED = ".shards"
"""Suffix of that folder, and in the file the key that stands for a tensor in it."""


def save(path: Path, payload: Mapping[str, Any]) -> None:
    """Write one file of tensors and plain values, atomically."""
    content = {"format": WHOLE, **payload}
    write_atomic(path, lambda file: _write(content, file))


def reference(folder: Path, sums: shards.Sums) -> dict[str, Any]:
    """What a file's content says of the folder of shards that belongs to it."""
    return {"format": IN_PARTS, "shards": {"folder": folder.name, "sums": sums}}


def load(path: Path, room: shards.Room = torch.empty) -> dict[str, Any]:
    """Read one file, and the shards that belong to it; onto the host, and without running code from them.

    Args:
        path: of the file.
        room: makes what tensors in shards are read into; by default they are read whole.

    Raises:
        CheckpointError: no such file, damaged, or of another format.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        _check_sums(path)
        payload: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(payload, dict) or payload.get("format") not in (WHOLE, IN_PARTS):
            raise CheckpointError(f"{path} isn't an mplframe checkpoint of format {WHOLE} or {IN_PARTS}")
        return payload if payload["format"] == WHOLE else _completed(path, payload, room)
    except CheckpointError:
        raise
    except Exception as error:
        # A damaged zip or pickle can raise almost anything.
        raise CheckpointError(
            f"{path} can't be read as a checkpoint ({type(error).__name__}: {_line(error)})"
        ) from error


def _completed(path: Path, payload: dict[str, Any], room: shards.Room) -> dict[str, Any]:
    part = payload.pop("shards")
    tensors = shards.read(path.with_name(part["folder"]), part["sums"], room)
    found: dict[str, Any] = _filled(payload, tensors)
    return found


def _filled(state: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """The state with its tensors in the places that stand for them."""
    if isinstance(state, dict):
        if state.keys() == {SHARDED}:
            return tensors[state[SHARDED]]
        for key, value in state.items():
            state[key] = _filled(value, tensors)
        return state
    return type(state)(_filled(value, tensors) for value in state) if isinstance(state, list | tuple) else state


def _write(content: dict[str, Any], file: BinaryIO) -> None:
    torch.save(content, file)


def _check_sums(path: Path) -> None:
    """`torch.load` leaves them unread: turned bits would be taken for weights."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"the checksum of {damaged} doesn't fit")


def _line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:200]
