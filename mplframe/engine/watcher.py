"""Someone who looks on while a run goes, and may end it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import final

from mplframe.contracts.tracker import Record, Tracker
from mplframe.engine.interrupt import Flag

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
