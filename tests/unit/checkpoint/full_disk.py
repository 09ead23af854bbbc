"""Fills a small disk and writes down, as JSON, what came of it. Run by `test_full_disk.py` in a process of its own.

Usage: full_disk.py FOLDER HOW, with HOW `disk` (FOLDER is on a disk of 1 MiB) or `limit` (files may have 1 MiB each).
"""

import json
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from mplframe.checkpoint.run_folder import RunFolder
from mplframe.checkpoint.store import CheckpointStore
from mplframe.contracts.watching import Record, Tracker
from mplframe.io.files import make_folder
from mplframe.tracking.jsonl import JsonLines
from mplframe.tracking.tensorboard import TensorBoard

LIMIT = 2**20


def outcome(do: Callable[[], object]) -> dict[str, str]:
    """What it raised."""
    try:
        do()
    except Exception as error:
        return {"type": type(error).__name__, "message": str(error)}
    return {"type": "", "message": ""}


def fill(path: Path) -> None:
    """Leave not a byte."""
    with path.open("wb", buffering=0) as file:
        for size in (2**16, 2**10, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


def log_without_end(tracker: Tracker, folder: Path) -> None:
    tracker.open(folder, total_steps=1, done=0)
    try:
        for step in range(20_000):
            tracker.log(
                Record("mpl", step, step, "train", {"student/loss": 1.0 / (step + 1)}, {"seconds": float(step)})
            )
    finally:
        tracker.close()


def trackers(folder: Path) -> dict[str, dict[str, str]]:
    return {
        "jsonl": outcome(lambda: log_without_end(JsonLines(), folder)),
        "tensorboard": outcome(lambda: log_without_end(TensorBoard(), folder)),
    }


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def main(root: Path, how: str) -> None:
    found: dict[str, object] = {}
    if how == "limit":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    run = RunFolder(root / "run")
    make_folder(run.checkpoints)
    store = CheckpointStore(run.checkpoints, keep=2)
    small, large = ({"state": torch.zeros(2**n), "progress": {"total": n}} for n in (12, 20))
    store.save(1, small)
    run.write_text(run.config, "old: 1\n")

    found["checkpoint"] = outcome(lambda: store.save(2, large))
    found["after_checkpoint"] = names(run.path)
    newest = store.newest()
    found["newest"] = "" if newest is None else newest[0].name
    found["text"] = outcome(lambda: run.write_text(run.config, "new: 1\n" * 2**18))
    found["after_text"] = run.config.read_text()
    if how == "disk":
        fill(root / "filler")
        found["to_the_brim"] = outcome(lambda: store.save(3, small))
        found |= trackers(run.path)
        (root / "filler").unlink()
        found["fill_inodes"] = outcome(lambda: [(root / f"{i}").touch() for i in range(10_000)])
        found["folder"] = outcome(lambda: make_folder(root / "other"))
    else:
        found |= trackers(run.path)
    found["at_last"] = names(run.checkpoints)
    print(json.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(Path(sys.argv[1]), sys.argv[2])
