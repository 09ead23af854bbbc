"""What a person sees: a progress bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, final

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.watching import Record, Tracker

SHOWN = ("loss", "accuracy", "labeled_loss", "h", "top1", "top5", "label_agreement")
NOTABLE = 0.2
"""Share of the time above which waiting is told."""


def line(record: Record) -> str:
    """One record in one line: the metrics that people watch."""
    parts = [f"{name} {value:.4g}" for name, value in record.values.items() if name.rpartition("/")[2] in SHOWN]
    speed = record.timing.get("images_per_second")
    if speed:
        parts.append(f"{speed:.0f} images/s")
    waiting = record.timing.get("waiting", 0.0)
    if waiting > NOTABLE:
        parts.append(f"{100 * waiting:.0f} % of the time waiting for data")
    return f"{record.stage} {record.step} {record.split}: {', '.join(parts)}"


@final
class Console(Tracker):
    """Progress on standard error, so that standard output stays free for results."""

    class Config(ComponentConfig):
        """No settings."""

        name: Literal["console"] = "console"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self._console = RichConsole(stderr=True, highlight=False, markup=False, emoji=False)
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def open(self, folder: Path, *, total_steps: int, done: int) -> None:
        if not self._console.is_terminal:
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._task = self._bar.add_task("steps", total=total_steps, completed=done)
        self._bar.start()

    def log(self, record: Record) -> None:
        self.message(line(record))

    def progress(self, stage: str, step: int, steps: int, total: int) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=total, description=f"{stage} {step}/{steps}")

    def message(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
