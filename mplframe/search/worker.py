"""The process that runs trials, one after another.

python -m mplframe.search.worker DESCRIPTOR
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from mplframe import api
from mplframe.checkpoint.run_folder import RunFolder
from mplframe.contracts.watching import Record
from mplframe.engine.interrupt import Interrupted
from mplframe.errors import MplframeError, UserError
from mplframe.io.files import make_folder
from mplframe.search.workers import Ended, Evaluated, Task, Verdict

LOG = "log.txt"
"""Where what a trial writes to its terminal goes, in its run folder."""


class Sweep:
    """The sweep at the other end of a connection.

    When it closes its end, or dies, this process is told to stop as by SIGTERM: a run saves where it is.
    """

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._received: SimpleQueue[Task | Verdict | None] = SimpleQueue()
        threading.Thread(target=self._receive, daemon=True).start()

    def tell(self, message: Evaluated | Ended) -> None:
        """Send a message."""
        try:
            self._connection.send(message)
        except OSError:
            os.kill(os.getpid(), signal.SIGTERM)

    def answer(self) -> Task | Verdict | None:
        """Wait for a message; None where no more will come."""
        return self._received.get()

    def _receive(self) -> None:
        try:
            while True:
                self._received.put(self._connection.recv())
        except (EOFError, OSError):
            self._received.put(None)
            os.kill(os.getpid(), signal.SIGTERM)


class Trial:
    """One trial.

    Args:
        task: which.
        sweep: told how it goes.
    """

    def __init__(self, task: Task, sweep: Sweep) -> None:
        self.task, self.sweep = task, sweep
        self.folder = RunFolder(task.folder)
        self.pruned: Evaluated | None = None

    def run(self) -> Ended:
        """Run it, go on with it, or find that it has ended.

        Raises:
            Interrupted: this process was told to stop.
        """
        if self.folder.pruned.exists():
            return Ended("pruned")
        try:
            config = api.from_dict(self.task.config)
            summary = _summary(self.folder) or api.run(
                config, out=self.folder.path, command=self.task.command, watch=self._watch
            )
            return Ended("complete", self._metric(summary["final"]), summary["seconds"])
        except Interrupted:
            if self.pruned is None:
                raise
            found = {"metric": self.task.metric, "step": self.pruned.step, "value": self.pruned.value}
            self.folder.write_json(self.folder.pruned, found)
            return Ended("pruned")
        except MplframeError as error:
            return Ended("failed", error=str(error))
        except Exception as error:
            traceback.print_exc()
            return Ended("failed", error=f"{type(error).__name__}: {error}; see {self.folder.path / LOG}")

    def _watch(self, record: Record) -> bool:
        if record.split == "train":
            return False
        role = next(iter(record.values)).partition("/")[0]
        own = {name.partition("/")[2]: value for name, value in record.values.items() if name.startswith(f"{role}/")}
        evaluated = Evaluated(record.total, self._metric(own))
        self.sweep.tell(evaluated)
        verdict = self.sweep.answer()
        if isinstance(verdict, Verdict) and verdict.prune:
            self.pruned = evaluated
        return self.pruned is not None

    def _metric(self, found: Mapping[str, float | None]) -> float:
        """The metric of the main network.

        Raises:
            UserError: there is no such metric, or it isn't a number.
        """
        name = self.task.metric
        if name not in found:
            raise UserError(f"sweep.metric: no evaluator gives {name!r} (they give: {', '.join(found)})")
        value = found[name]
        if value is None or not math.isfinite(value):
            raise UserError(f"{name} is {value}")
        return value


def _summary(folder: RunFolder) -> dict[str, Any] | None:
    """Of a run that has finished, though nobody was there to be told."""
    found: dict[str, Any] | None = json.loads(folder.summary.read_text()) if folder.summary.exists() else None
    return found


def _write_to(log: Path) -> None:
    """Send what this process prints, and what libraries in C do, to a file."""
    make_folder(log.parent)
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())


def main() -> None:
    """Run trials until no more come."""
    sweep = Sweep(Connection(int(sys.argv[1])))
    while isinstance(task := sweep.answer(), Task):
        _write_to(task.folder / LOG)
        try:
            sweep.tell(Trial(task, sweep).run())
        except Interrupted as stopped:
            sys.stderr.write(f"{stopped}\n")
            raise SystemExit(stopped.exit_code) from None


if __name__ == "__main__":
    main()
