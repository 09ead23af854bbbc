"""`metrics.jsonl`: one JSON object a record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TextIO, final

from mplframe.config.base import ComponentConfig
from mplframe.contracts.tracker import Record, Tracker

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
        self._file: TextIO | None = None

    def open(self, folder: Path, *, total_steps: int, done: int) -> None:
        path = folder / FILE
        kept = _kept(path, done) if path.exists() and done else []
        part = path.with_suffix(".part")
        part.write_text("".join(kept), encoding="utf-8")
        part.replace(path)
        self._file = path.open("a", encoding="utf-8")

    def log(self, record: Record) -> None:
        assert self._file is not None
        self._file.write(json.dumps(flat(record)) + "\n")
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _kept(path: Path, done: int) -> list[str]:
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            total = json.loads(line)["total"]
        except ValueError:
            continue  # the last line of a killed run may be torn; its step is done again
        if total <= done:
            kept.append(line)
    return kept
