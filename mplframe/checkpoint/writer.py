"""Writes a run's states to files, beside the training where wanted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, final
from uuid import uuid4

from torch import Tensor
from torch.distributed.tensor import DTensor

from mplframe.checkpoint import shards
from mplframe.checkpoint.format import SHARDED, reference, save
from mplframe.contracts.backend import Backend
from mplframe.contracts.state import mapped
from mplframe.errors import MplframeError


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
        begun = None if folder is None else shards.begin(folder, cut)
        shapes = {name: tensor.shape for name, tensor in cut.items()}

        def work() -> None:
            if folder is not None and begun is not None:
                plain.update(reference(folder, shards.finish(folder, begun, shapes)))
            if self._main:
                save(path, plain)
                if also is not None:
                    _save_again(also, plain, folder)
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


def _save_again(path: Path, plain: Mapping[str, Any], folder: Path | None) -> None:
    if folder is None:
        save(path, plain)
        return
    twin = folder.with_name(f"{path.stem}-{uuid4().hex[:8]}{SHARDED}")
    shutil.copytree(folder, twin, copy_function=os.link)
    save(path, {**plain, **reference(twin, plain["shards"]["sums"])})


def _do(work: Callable[[], None], outcome: Future[None]) -> None:
    try:
        work()
        outcome.set_result(None)
    except Exception as error:
        outcome.set_exception(error)
