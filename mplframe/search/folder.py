"""The folder of a sweep: what is in it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mplframe.checkpoint.files import alone, make_folder
from mplframe.errors import UserError

SECONDS = 60.0


class SweepFolder:
    """Paths of a sweep.

    Args:
        path: the folder; made by `held`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.study = path / "study.db"
        self.best = path / "best.yaml"
        self.json = path / "trials.json"
        self.csv = path / "trials.csv"
        self.plot = path / "sweep.png"

    def trial(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.path / f"trial-{number:04d}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and hold it alone.

        Raises:
            UserError: it can't be written, holds a run, or another sweep holds it.
        """
        make_folder(self.path)
        if (self.path / "manifest.json").exists():
            raise UserError(f"{self.path} holds a run; choose another folder for the sweep (--out DIR)")
        with alone(self.path, "sweep"):
            yield

    def clear(self) -> None:
        """Remove what a sweep has left."""
        for file in (*self.path.glob("study.db*"), self.best, self.json, self.csv, self.plot):
            file.unlink(missing_ok=True)
        for trial in self.path.glob("trial-[0-9]*"):
            shutil.rmtree(trial)

    def wait_for(self, number: int) -> None:
        """Wait until nobody writes to a trial: what a killed sweep has left behind is saving it.

        Raises:
            UserError: that takes longer than a minute.
        """
        folder, deadline = self.trial(number), time.monotonic() + SECONDS
        while folder.exists():
            try:
                with alone(folder, "run"):
                    return
            except UserError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
