"""Runs of a grid in worker processes, and what is kept of each."""

from __future__ import annotations

import json
import os
import platform
import shlex
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from importlib.metadata import version
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import Any

import torch

import mplframe
from benchmarks.accuracy.grid import Cell, installed
from mplframe.checkpoint.run_folder import RunFolder
from mplframe.config.run import RunConfig
from mplframe.engine.interrupt import Interrupted
from mplframe.errors import MplframeError, UserError

Record = dict[str, Any]
"""One run: `variant`, `seed`, `command`; `seconds` in all stages, `images` fed; metrics of the final network, of each
network at the end of each stage, and of the baselines; or else `error`."""

DECISIVE = ("seed", "method", "baselines", "data", "input")
"""Settings that make two runs the same one."""
KEPT = ("top1", "nll")


def sweep(cells: Iterable[Cell], jobs: int) -> Iterator[Record]:
    """The records of all runs as they end, each made with one thread.

    Args:
        cells: the runs.
        jobs: how many at once; more than one take a process each.

    Raises:
        Interrupted: a run was told to stop, and has saved where it was.
    """
    return map(record, cells) if jobs == 1 else _side_by_side(cells, jobs)


def _side_by_side(cells: Iterable[Cell], jobs: int) -> Iterator[Record]:
    left = iter(cells)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        # No more are handed out than can run, so that nothing begins after an interrupt.
        running = {pool.submit(record, cell) for cell in islice(left, jobs)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
            running |= {pool.submit(record, cell) for cell in islice(left, len(done))}


def end_with_parent() -> None:
    """Tell this process to stop when the one that started it has ended, however that came about."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def record(cell: Cell) -> Record:
    """Make a run, go on with it, or find it finished."""
    torch.set_num_threads(1)
    known: Record = {"variant": cell.variant, "seed": cell.seed, "command": cell.command}
    try:
        summary = finished(cell)
    except Interrupted:
        raise
    except MplframeError as error:
        return {**known, "error": str(error)}
    stages = {
        name: {role: kept(metrics) for role, metrics in stage["networks"].items()}
        for name, stage in summary["stages"].items()
        if "networks" in stage  # tasks between stages have none
    }
    return {
        **known,
        **kept(summary["final"]),
        "seconds": round(summary["seconds"], 1),
        "images": summary["images"],
        "stages": stages,
        "baselines": {name: kept(metrics) for name, metrics in summary["baselines"].items()},
    }


def kept(metrics: Mapping[str, float]) -> dict[str, float]:
    """What is written down of a network's metrics."""
    return {name: round(metrics[name], 6) for name in KEPT}


def finished(cell: Cell) -> dict[str, Any]:
    """The summary of a run, which is made unless it is there.

    Raises:
        UserError: the folder holds a run with other settings.
        RunError: the run failed.
    """
    found = installed()
    config, folder = cell.config(found), RunFolder(cell.folder)
    if not folder.summary.exists():
        return mplframe.run(config, out=cell.folder, installed=found, command=shlex.split(cell.command))
    before = mplframe.load(folder.config, installed=found)
    if differs := [key for key in DECISIVE if decisive(before)[key] != decisive(config)[key]]:
        raise UserError(
            f"{cell.folder} holds a finished run with another {', '.join(differs)}; give another --out or remove it"
        )
    summary: dict[str, Any] = json.loads(folder.summary.read_text())
    return summary


def decisive(config: RunConfig) -> dict[str, Any]:
    """The settings that make two runs the same one, as plain data."""
    dumped = config.dump()
    return {key: dumped[key] for key in DECISIVE}


def environment() -> dict[str, Any]:
    """Where and when the runs were made."""
    names = ("mplframe", "torch", "torchvision", "numpy")
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "threads a run": 1},
    }
