"""Checkpoints in a folder: the newest whole one wins, old ones go, the best one stays."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mplframe.checkpoint.format import SHARDED, load
from mplframe.checkpoint.shards import Room
from mplframe.checkpoint.writer import Writer
from mplframe.errors import CheckpointError

BEST = "best.pt"
_NAME = re.compile(r"step-(\d{9})\.pt")


class CheckpointStore:
    """The folder `checkpoints/` of a run.

    Args:
        folder: where they are; made by the caller.
        keep: how many of the newest stay.
        writer: writes them; by default this process by itself, while the caller waits.
        room: see `mplframe.checkpoint.format.load`.
    """

    def __init__(self, folder: Path, *, keep: int, writer: Writer | None = None, room: Room = torch.empty) -> None:
        self.folder = folder
        self.keep = keep
        self.writer = writer or Writer()
        self.room = room

    def save(self, total: int, payload: Mapping[str, Any], *, best: bool = False) -> Path:
        """Write the checkpoint of a step, or begin to, and remove what isn't kept.

        Args:
            total: steps of all stages that are done.
            payload: tensors and plain values.
            best: also keep it as the best so far.

        Raises:
            RunError: the disk is full; earlier checkpoints are untouched. A write that fails in the background raises
                at the next one, or when the writer settles.
        """
        path = self.folder / f"step-{total:09d}.pt"
        self.writer.write(path, payload, also=self.folder / BEST if best else None, then=self._tidy)
        return path

    def paths(self) -> list[Path]:
        """Those of single steps, the newest first."""
        return sorted((p for p in self.folder.glob("step-*.pt") if _NAME.fullmatch(p.name)), reverse=True)

    def load(self, path: Path) -> dict[str, Any]:
        """The content of a checkpoint, in this folder or another.

        Raises:
            CheckpointError: it isn't one, or is damaged.
        """
        return load(path, self.room)

    def newest(self, folder: Path | None = None) -> tuple[Path, dict[str, Any]] | None:
        """The newest that can be read, or None. One that can't is named in a warning and passed over.

        Args:
            folder: another one than the store's own.
        """
        for path in (self if folder is None else CheckpointStore(folder, keep=1)).paths():
            try:
                return path, self.load(path)
            except CheckpointError as error:
                warnings.warn(f"passing over a checkpoint: {error}", RuntimeWarning, stacklevel=2)
        return None

    def _tidy(self) -> None:
        for old in self.paths()[self.keep :]:
            old.unlink()
        # Those of files that have gone or been replaced, and what a killed run left.
        for folder in set(self.folder.glob(f"*{SHARDED}")) - self._belonging():
            shutil.rmtree(folder)

    def _belonging(self) -> set[Path]:
        """Of each file, the newest folder of shards: the one that it refers to."""
        found: dict[str, Path] = {}
        for folder in sorted(self.folder.glob(f"*{SHARDED}"), key=lambda path: path.stat().st_mtime_ns):
            stem = folder.name.rpartition("-")[0]
            if (self.folder / f"{stem}.pt").exists():
                found[stem] = folder
        return set(found.values())
