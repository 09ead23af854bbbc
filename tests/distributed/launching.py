"""Processes that torchrun starts, and what is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

MARK = "MPLFRAME_TEST_LAUNCH"


class Launch:
    """One torchrun on this machine with two processes; its output goes to `log` in the folder that it runs in."""

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        self._mark = uuid4().hex
        self.log = folder / f"{self._mark}.log"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--nproc-per-node", "2", *map(str, arguments)],
                cwd=folder,
                env={**os.environ, MARK: self._mark, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        """What all processes have written so far."""
        return self.log.read_text(errors="replace")

    def wait_until(self, due: Callable[[], bool], seconds: float = 120) -> None:
        """Look until something is so; an error where the launch ends before, or it takes longer."""
        deadline = time.monotonic() + seconds
        while not due():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.001)

    def wait(self, seconds: float) -> int:
        """The exit code of torchrun; an error where it takes longer."""
        return self.process.wait(seconds)

    def alive(self, rank: int | None = None) -> list[int]:
        """Process ids of what this launch has started, torchrun included; only that of a rank where one is given."""
        wanted = {f"{MARK}={self._mark}", *([] if rank is None else [f"RANK={rank}"])}
        return [int(process.name) for process in Path("/proc").glob("[0-9]*") if wanted <= _environment(process)]


@contextmanager
def launched(folder: Path, *arguments: str | Path) -> Iterator[Launch]:
    """A launch of which nothing is left behind the block."""
    launch = Launch(folder, *arguments)
    try:
        yield launch
    finally:
        for pid in launch.alive():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        launch.process.wait()


def _environment(process: Path) -> set[str]:
    try:
        return set((process / "environ").read_bytes().decode(errors="replace").split("\0"))
    except OSError:  # it has ended, or isn't ours
        return set()
