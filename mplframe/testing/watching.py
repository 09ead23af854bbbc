"""Contract suites of evaluators and trackers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mplframe.contracts.watching import Evaluator, Record, Tracker
from mplframe.testing.component import made

SAMPLES = 50
CUTS: tuple[tuple[int, ...], ...] = ((50,), (20, 20, 10), (1,) * 50)


def check_evaluator(make: Callable[[], Evaluator]) -> None:
    """Hold an evaluator against its contract.

    It gives finite numbers by name, for two classes and for ten; they don't depend on how samples are cut into batches
    nor on what was evaluated before; it reads every batch, once, and changes none.

    Args:
        make: makes the evaluator.

    Raises:
        AssertionError: names the broken promise.
    """
    evaluator = made(make, Evaluator)
    for classes in (2, 10):
        generator = torch.Generator().manual_seed(classes)
        logits = torch.randn(SAMPLES, classes, generator=generator)
        labels = torch.randint(classes, (SAMPLES,), generator=generator)
        whole = _evaluated(make(), logits, labels, CUTS[0])
        _check_values(whole)
        for cut in CUTS:
            found = _evaluated(evaluator, logits, labels, cut)
            _check_same(whole, found, f"in {len(cut)} batches")


def _evaluated(evaluator: Evaluator, logits: Tensor, labels: Tensor, cut: Sequence[int]) -> Mapping[str, float]:
    given = 0

    def outputs() -> Iterator[tuple[Tensor, Tensor]]:
        nonlocal given
        for part in zip(torch.split(logits.clone(), list(cut)), torch.split(labels.clone(), list(cut)), strict=True):
            before = [tensor.clone() for tensor in part]
            given += len(part[0])
            yield part
            assert all(map(torch.equal, part, before)), "a batch of outputs was changed in place"

    found = evaluator.evaluate(outputs(), logits.shape[1])
    assert given == SAMPLES, f"only {given} of {SAMPLES} samples were looked at"
    return found


def _check_values(metrics: Mapping[str, float]) -> None:
    assert metrics, "no metrics were given"
    for name, value in metrics.items():
        assert isinstance(name, str), f"a metric is named {name!r}, not by a string"
        assert "/" not in name, f"the metric {name!r}: the slash is put between role and metric by the engine"
        assert isinstance(value, float), f"{name} is {type(value).__name__}, not a float on the host"
        assert math.isfinite(value), f"{name} is {value} for plain noise"


def _check_same(expected: Mapping[str, float], found: Mapping[str, float], where: str) -> None:
    assert found.keys() == expected.keys(), f"other metrics {where}: {sorted(found)} and {sorted(expected)}"
    for name, value in expected.items():
        assert math.isclose(found[name], value, rel_tol=1e-5, abs_tol=1e-6), (
            f"{name} is {found[name]} {where}, and {value} in one: it must be that of the whole split"
        )


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
