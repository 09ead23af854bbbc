"""Checkpoints in a folder: the newest whole one wins, old ones go, the best one stays."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from mplframe.checkpoint.files import write_atomic
from mplframe.errors import CheckpointError

FORMAT = 1
BEST = "best.pt"
_NAME = re.compile(r"step-(\d{9})\.pt")


class CheckpointStore:
    """The folder `checkpoints/` of a run.

    Args:
        folder: where they are; made by the caller.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def save(self, total: int, payload: Mapping[str, Any], *, best: bool = False) -> Path:
        """Write the checkpoint of a step and remove what isn't kept.

        Args:
            total: steps of all stages that are done.
            payload: tensors and plain values.
            best: also keep it as the best so far.

        Raises:
            RunError: the disk is full; earlier checkpoints are untouched.
        """
        path = self.folder / f"step-{total:09d}.pt"
        save(path, payload)
        if best:
            write_atomic(self.folder / BEST, lambda file: file.write(path.read_bytes()))
        for old in self.paths()[self.keep :]:
            old.unlink()
        return path

    def paths(self) -> list[Path]:
        """Those of single steps, the newest first."""
        return sorted((p for p in self.folder.glob("step-*.pt") if _NAME.fullmatch(p.name)), reverse=True)

    def newest(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest that can be read, or None. One that can't is named in a warning and passed over."""
        for path in self.paths():
            try:
                return path, load(path)
            except CheckpointError as error:
                warnings.warn(f"passing over a checkpoint: {error}", RuntimeWarning, stacklevel=2)
        return None


def save(path: Path, payload: Mapping[str, Any]) -> None:
    """Write one file of tensors and plain values, atomically."""
    content = {"format": FORMAT, **payload}
    write_atomic(path, lambda file: _write(content, file))


def load(path: Path) -> dict[str, Any]:
    """Read one file; onto the host, and without running code from it.

    Raises:
        CheckpointError: no such file, damaged, or of another format.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        _check_sums(path)
        payload: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A damaged zip or pickle can raise almost anything.
        raise CheckpointError(
            f"{path} can't be read as a checkpoint ({type(error).__name__}: {_line(error)})"
        ) from error
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        raise CheckpointError(f"{path} isn't an mplframe checkpoint of format {FORMAT}")
    return payload


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
