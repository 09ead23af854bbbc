"""The metrics of a run, read back and sorted by stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mplframe.errors import DataError

KEYS = ("stage", "step", "total", "split")


@dataclass(frozen=True)
class StageSpan:
    """Where a stage lies in the run.

    Attributes:
        name: of the stage.
        start: steps of all stages that were done when it began.
        stop: the same at its last record.
    """

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class Series:
    """One metric within one stage.

    Attributes:
        name: such as `student/top1`.
        span: the stage.
        totals: steps of all stages, one a point.
        values: one a point.
    """

    name: str
    span: StageSpan
    totals: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def role(self) -> str:
        """What the metric is about: `student` of `student/top1`."""
        return self.name.partition("/")[0]


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl`, one object a line. A torn last line, which a killed run leaves, is left out.

    Raises:
        DataError: the file is missing, holds no records, or a line isn't a record.
    """
    if not path.is_file():
        raise DataError(f"there is no {path}; a run writes it when `jsonl` is among its trackers")
    lines = path.read_text(encoding="utf-8").splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise DataError(f"{path}, line {number} isn't JSON ({error}); the file is damaged") from error
        if not isinstance(record, dict) or any(key not in record for key in KEYS):
            raise DataError(
                f"{path}, line {number} isn't a record with {', '.join(KEYS)}; is it a run's metrics.jsonl?"
            )
        records.append(record)
    if not records:
        raise DataError(f"{path} holds no records yet; let the run log at least once")
    return records


def stage_spans(records: Sequence[Mapping[str, Any]]) -> list[StageSpan]:
    """The stages in the order in which they were trained; one that comes twice (in a baseline, say) is there twice."""
    ends: dict[tuple[int, str], int] = {}
    for record in records:
        key = _stage(record)
        ends[key] = max(ends.get(key, 0), record["total"])
    return [StageSpan(name, start, stop) for (start, name), stop in sorted(ends.items())]


def series(records: Sequence[Mapping[str, Any]], split: str, wanted: Callable[[str], bool]) -> list[Series]:
    """The metrics of a split whose name is wanted, cut at stages; in the order in which they first appear."""
    points: dict[tuple[str, tuple[int, str]], dict[int, float]] = {}
    for record in records:
        for name, value in record.items():
            if record["split"] == split and isinstance(value, int | float) and name not in KEYS and wanted(name):
                points.setdefault((name, _stage(record)), {})[record["total"]] = float(value)
    spans = {(span.start, span.name): span for span in stage_spans(records)}
    return [Series(name, spans[stage], tuple(found), tuple(found.values())) for (name, stage), found in points.items()]


def _stage(record: Mapping[str, Any]) -> tuple[int, str]:
    return record["total"] - record["step"], record["stage"]
