"""Checkpoints of a run folder: written in the background, found again, kept or removed."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, final
from uuid import uuid4

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from mplframe.checkpoint import shards
from mplframe.checkpoint.format import SHARDED, load, reference, save
from mplframe.checkpoint.shards import Room, Shards
from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import mapped
from mplframe.errors import CheckpointError, MplframeError


@final
class Writer:
    """Writes states with all processes of a run. Each calls everything, equally often and in one order.

    A state's file is written by the main process. Tensors of which processes hold shards are written by all of them
    into a folder beside it, and the file comes last, when the folder is seen to hold all of them: a state whose file
    is there is whole.

    Args:
        backend: whose processes; None for this process by itself.
        background: copy the state to the host and write it while the caller goes on.
    """

    def __init__(self, backend: Backend | None = None, *, background: bool = False) -> None:
        self._backend = backend
        self._main = backend is None or backend.main
        self._thread = ThreadPoolExecutor(1, "checkpoint") if background else None
        self._pending: Future[None] | None = None

    def write(
        self,
        path: Path,
        state: Mapping[str, Any],
        *,
        also: Path | None = None,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Write a state, or begin to; waits for the one before.

        Args:
            path: of the file.
            state: tensors and plain values.
            also: a second file of the same content.
            then: done by the main process when it is written.

        Raises:
            MplframeError: in every process, what went wrong in one.
        """
        self.settle()
        plain, cut = self._parted(state)
        # All processes write into one folder, so its name is one process's choice.
        folder = path.with_name(f"{path.stem}-{self._gather(uuid4().hex[:8])[0]}{SHARDED}") if cut else None
        begun = None if folder is None else shards.begin(cut)
        shapes = {name: tensor.shape for name, tensor in cut.items()}

        def work() -> None:
            found = None if folder is None or begun is None else shards.finish(folder, begun, shapes)
            if self._main:
                # The other file first: cut off between the two, the run goes on from before this step, finds the same
                # again and writes both. The other way round it would believe the other file written.
                if also is not None:
                    _save(also, plain, None if found is None else _linked(path.with_name(found.folder), also, found))
                _save(path, plain, found)
                then()

        self._pending = Future() if self._thread is None else self._thread.submit(work)
        if self._thread is None:
            _do(work, self._pending)
            self.settle()

    def settle(self) -> None:
        """Wait until what was begun is written, in every process.

        Raises:
            MplframeError: in every process, what went wrong in one.
        """
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        failed: MplframeError | None = None
        try:
            pending.result()
        except MplframeError as error:
            failed = error
        for one in self._gather(failed):
            if one is not None:
                raise one

    def close(self) -> None:
        """Let what was begun come to its end, whatever that is."""
        if self._pending is not None:
            with suppress(Exception):
                self._pending.result()
        if self._thread is not None:
            self._thread.shutdown()

    def _parted(self, state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, DTensor]]:
        """What goes into the file, and the tensors that don't."""
        cut: dict[str, DTensor] = {}

        def part(path: str, tensor: Tensor) -> Any:
            if isinstance(tensor, DTensor):
                cut[path] = tensor
                return {SHARDED: path}
            return tensor

        rest = mapped(dict(state), part)
        plain = rest if self._backend is None else self._backend.host(rest)
        if not self._main:
            return {}, cut
        return mapped(plain, lambda _, tensor: _copied(tensor)) if self._thread is not None else plain, cut

    def _gather(self, value: Any) -> list[Any]:
        return [value] if self._backend is None else self._backend.gather(value)


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)


def _save(path: Path, plain: Mapping[str, Any], found: Shards | None) -> None:
    save(path, plain if found is None else {**plain, **reference(found)})


def _linked(folder: Path, path: Path, found: Shards) -> Shards:
    """The same shards in a folder for another file."""
    twin = folder.with_name(f"{path.stem}-{uuid4().hex[:8]}{SHARDED}")
    shutil.copytree(folder, twin, copy_function=os.link)
    return found.model_copy(update={"folder": twin.name})


def _do(work: Callable[[], None], outcome: Future[None]) -> None:
    try:
        work()
        outcome.set_result(None)
    except Exception as error:
        outcome.set_exception(error)


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
        self._passed_over: set[Path] = set()

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
        then = partial(self._tidy, path)
        self.writer.write(path, payload, also=self.folder / BEST if best else None, then=then)
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
                self._passed_over.add(path)
        return None

    def settle_best(self, payload: dict[str, Any]) -> None:
        """Make `best.pt` and the best value that a checkpoint remembers agree, before a run goes on from it.

        A best that was saved after that checkpoint, is gone or is damaged, is no best of this run: it is removed, and
        the next evaluation begins anew.

        Args:
            payload: of the checkpoint; its progress forgets the best value where there is no file for it.
        """
        path, progress = self.folder / BEST, payload["progress"]
        try:
            kept = self.load(path)["progress"] if path.exists() else {}
        except (CheckpointError, KeyError):
            kept = {}
        remembered = progress.get("best")
        if remembered is None or kept.get("best") != remembered or kept["total"] > progress["total"]:
            path.unlink(missing_ok=True)
            progress["best"] = None

    def _tidy(self, written: Path) -> None:
        """Keep the newest, now that one is written; what was passed over takes no place of one that is whole."""
        self._passed_over.discard(written)
        whole = [path for path in self.paths() if path not in self._passed_over]
        for old in set(self.paths()) - set(whole[: self.keep]):
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
