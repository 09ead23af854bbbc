"""The contract of trackers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mplframe.contracts.tracker import Record, Tracker
from mplframe.testing.component import made

STEPS = 6
PROGRESS_SECONDS = 1e-3


def check_tracker(make: Callable[[], Tracker], folder: Path, *, read: Callable[[Path], Sequence[int]] | None) -> None:
    """Hold a tracker against its contract.

    It takes the records of a run and of one that goes on after a kill, dropping what the earlier life wrote after its
    checkpoint; it closes whatever has happened; progress costs less than a millisecond of CPU time.

    Args:
        make: makes the tracker.
        folder: an empty folder.
        read: from a run folder to `Record.total` of each training record kept there, in order; None for a tracker that
            keeps nothing.

    Raises:
        AssertionError: names the broken promise.
    """
    made(make, Tracker)
    run = folder / "run"
    run.mkdir()
    _life(make(), run, done=0, until=STEPS)
    _check_kept(run, read, "after a run")
    # The process was killed after the last step; its last checkpoint is two steps older.
    _life(make(), run, done=STEPS - 2, until=STEPS)
    _check_kept(run, read, f"after resuming from step {STEPS - 2}: records of an earlier life have to be dropped")
    _life(make(), run, done=0, until=STEPS)
    _check_kept(run, read, "after a restart before the first checkpoint")
    _check_empty(make, folder / "empty")
    _check_progress(make, folder / "progress")


def record(total: int, split: str = "train") -> Record:
    """A record such as the engine gives after `total` steps."""
    return Record("mpl", total, total, split, {"student/loss": 1.0 / total}, {"seconds": 0.5 * total})


def _life(tracker: Tracker, folder: Path, *, done: int, until: int) -> None:
    tracker.open(folder, total_steps=STEPS, done=done)
    tracker.message(f"going on after step {done}")
    for total in range(done + 1, until + 1):
        tracker.progress("mpl", total, STEPS, total)
        tracker.log(record(total))
    tracker.log(record(until, "test"))
    tracker.close()


def _check_kept(folder: Path, read: Callable[[Path], Sequence[int]] | None, when: str) -> None:
    if read is not None:
        kept = list(read(folder))
        assert kept == list(range(1, STEPS + 1)), f"{when}: records of steps {kept} are kept, not 1 to {STEPS}"


def _check_empty(make: Callable[[], Tracker], folder: Path) -> None:
    folder.mkdir()
    tracker = make()
    tracker.open(folder, total_steps=STEPS, done=0)
    tracker.close()


def _check_progress(make: Callable[[], Tracker], folder: Path) -> None:
    folder.mkdir()
    tracker, calls = make(), 200
    tracker.open(folder, total_steps=calls, done=0)
    start = time.thread_time()
    for step in range(1, calls + 1):
        tracker.progress("mpl", step, calls, step)
    seconds = (time.thread_time() - start) / calls
    tracker.close()
    assert seconds < PROGRESS_SECONDS, f"progress takes {1e3 * seconds:.1f} ms a step; it must cost next to nothing"
