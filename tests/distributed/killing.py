"""A run of two processes that is killed while it writes a checkpoint."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from mplframe.config.load import dump

from .launching import launched
from .runs import settings


def killed_while_writing(name: str, out: Path) -> None:
    """Make one of the runs with `fsdp` until some checkpoint's shards are there and its file isn't, and kill a process.

    Looks for it where the other process can't go on: in a folder of shards that stays without its file while one
    process stands still.
    """
    config = out.with_suffix(".yaml")
    config.write_text(dump(settings(name, backend="fsdp", every=1)))
    with launched(out.parent, "-m", "mplframe", "run", config, "--out", out) as launch:
        while True:
            launch.wait_until(lambda: bool(_torn(out)))
            (other,) = launch.alive(rank=1)
            os.kill(other, signal.SIGSTOP)
            time.sleep(0.3)
            if _torn(out):
                break
            os.kill(other, signal.SIGCONT)
        os.kill(other, signal.SIGKILL)
        assert launch.wait(60) != 0
        assert launch.alive() == []
        assert "mplframe: process 0 of 2 has lost the others" in launch.said
    assert _torn(out)


def _torn(out: Path) -> list[Path]:
    """Folders of shards whose file isn't there."""
    folders = list((out / "checkpoints").glob("step-*.shards"))
    return [folder for folder in folders if not folder.with_name(f"{folder.name.rpartition('-')[0]}.pt").exists()]
