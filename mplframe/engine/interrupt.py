"""Signals that end a run after its step, and what watches for them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import final

from mplframe.contracts.watching import Record, Tracker
from mplframe.errors import MplframeError


class Interrupted(MplframeError):  # noqa: N818 - the reader of a message sees a stop, not an error
    """The run was told to stop and has saved where it was. Exit code 130."""

    exit_code = 130


class Flag:
    """Whether the run was told to stop."""

    raised = False

    def check(self) -> None:
        """For work that keeps its own place.

        Raises:
            Interrupted: it was.
        """
        if self.raised:
            raise Interrupted("stopped; the same command resumes")


@contextmanager
def polite_end(flag: Flag) -> Iterator[Flag]:
    """Within it the first SIGINT or SIGTERM raises the flag; a second one acts as always."""
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number: int, frame: FrameType | None) -> None:
        flag.raised = True
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


Watch = Callable[[Record], bool]
"""Shown every record; says whether the run is to stop. It then saves where it is and raises `Interrupted`."""


@final
class Watcher(Tracker):
    """Shows records to a `Watch`, and raises the flag of the run where it says so."""

    def __init__(self, watch: Watch, flag: Flag) -> None:
        self._watch, self._flag = watch, flag

    def open(self, folder: Path, *, total_steps: int, done: int) -> None:
        return

    def log(self, record: Record) -> None:
        if self._watch(record):
            self._flag.raised = True

    def close(self) -> None:
        return
