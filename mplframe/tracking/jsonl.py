"""`metrics.jsonl`: one JSON object a record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, final

from mplframe.config.base import ComponentConfig
from mplframe.contracts.watching import Record, Tracker
from mplframe.errors import writing
from mplframe.io.files import json_text, lines_of, write_atomic

FILE = "metrics.jsonl"


def flat(record: Record) -> dict[str, Any]:
    """The record as one object: its metrics beside where they belong, what differs from run to run under `timing`."""
    where = {"step": record.step, "total": record.total, "stage": record.stage, "split": record.split}
    return {**where, **record.values, "timing": dict(record.timing)}


@final
class JsonLines(Tracker):
    """Appends to `metrics.jsonl` in the run folder; a resumed run first drops what lies after its checkpoint."""

    class Config(ComponentConfig):
        """No settings."""

        name: Literal["jsonl"] = "jsonl"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self._path: Path | None = None

    def open(self, folder: Path, *, total_steps: int, done: int) -> None:
        self._path = path = folder / FILE
        kept = _kept(path, done) if path.exists() and done else []
        write_atomic(path, lambda file: file.write("".join(f"{line}\n" for line in kept).encode()))

    def log(self, record: Record) -> None:
        assert self._path is not None
        line = json_text(flat(record))
        # Opened for each record: a file that stays open would fail once more where it is closed.
        with writing(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def close(self) -> None:
        self._path = None


def _kept(path: Path, done: int) -> list[str]:
    kept = []
    for line in lines_of(path.read_text(encoding="utf-8")):
        try:
            total = json.loads(line)["total"]
        except ValueError:
            continue  # the last line of a killed run may be torn; its step is done again
        if total <= done:
            kept.append(line)
    return kept
