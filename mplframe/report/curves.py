"""Learning curves of a run, read from its metrics."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from mplframe.errors import DataError
from mplframe.io.files import lines_of

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
    lines = lines_of(path.read_text(encoding="utf-8"))
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


COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart by color-blind readers too (Okabe & Ito)."""

STYLES = ("-", "--", ":", "-.")
FEW_POINTS = 40
"""Up to this many evaluations of a stage, each gets a dot."""


def learning_curves(metrics_jsonl: Path, out: Path) -> None:
    """Draw test accuracy, training losses and the teacher's feedback over the steps of all stages.

    Panels without data are left out. The picture appears at `out` whole or not at all.

    Args:
        metrics_jsonl: `metrics.jsonl` of a run: one object a line with `stage`, `step`, `total`, `split` and metrics.
        out: PNG file to write; its folder is made if need be.

    Raises:
        DataError: the metrics are missing, empty or damaged, or there is nothing to draw.
    """
    records = read_records(metrics_jsonl)
    panels = [panel for panel in _panels(records) if panel.curves]
    if not panels:
        raise DataError(f"{metrics_jsonl} has no accuracy, loss or feedback to draw yet; let the run log at least once")
    figure = Figure(figsize=(9.0, 1.2 + 2.4 * len(panels)), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0])
    roles = list(dict.fromkeys(curve.role for panel in panels for curve in panel.curves))
    for axis, panel in zip(axes, panels, strict=True):
        _draw(axis, panel, roles)
    _mark_stages(axes, stage_spans(records))
    axes[-1].set_xlabel("training steps, all stages")
    axes[-1].xaxis.set_major_formatter(EngFormatter(sep=""))
    save(figure, out)


@dataclass(frozen=True)
class _Panel:
    label: str
    curves: Sequence[Series]
    kind: Literal["accuracy", "loss", "feedback"]


def _panels(records: Sequence[Mapping[str, Any]]) -> tuple[_Panel, ...]:
    judged = next((record["split"] for record in records if record["split"] != "train"), "test")
    accuracy = series(records, judged, lambda name: name.endswith("/top1"))
    loss = series(records, "train", lambda name: name.endswith("loss"))
    feedback = series(records, "train", lambda name: name == "feedback/h")
    return (
        _Panel(f"{judged} accuracy (top-1, %)", accuracy, "accuracy"),
        _Panel("training loss (nats)", loss, "loss"),
        _Panel("feedback h (mean of the batch)", feedback, "feedback"),
    )


def _draw(axis: Axes, panel: _Panel, roles: Sequence[str]) -> None:
    styles = _styles(panel.curves)
    dotted = FEW_POINTS if panel.kind == "accuracy" else 1
    labelled: set[str] = set()
    for curve in panel.curves:
        label = curve.role if panel.kind == "accuracy" else curve.name
        axis.plot(
            curve.totals,
            curve.values,
            color=COLORS[roles.index(curve.role) % len(COLORS)],
            linestyle=styles[curve.name],
            linewidth=1.4,
            marker="o" if len(curve.totals) <= dotted else None,
            markersize=3.5,
            label=None if label in labelled else label,
        )
        labelled.add(label)
    axis.set_ylabel(panel.label)
    axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axis.grid(axis="y", color="0.9", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    if panel.kind == "accuracy":
        axis.margins(y=0.15)
        axis.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=""))
        _name_last(axis, [curve for curve in panel.curves if curve.role == roles[0]])
    if panel.kind == "feedback":
        axis.axhline(0.0, color="0.5", linewidth=0.8, zorder=0)
    else:
        axis.legend(frameon=False, fontsize="small", loc="best")


def _styles(curves: Sequence[Series]) -> dict[str, str]:
    """Color tells roles apart; line styles tell apart several metrics of one role."""
    of_role: dict[str, list[str]] = {}
    for curve in curves:
        names = of_role.setdefault(curve.role, [])
        if curve.name not in names:
            names.append(curve.name)
    return {name: STYLES[i % len(STYLES)] for names in of_role.values() for i, name in enumerate(names)}


def _name_last(axis: Axes, curves: Sequence[Series]) -> None:
    for curve in curves:
        axis.annotate(
            f"{100 * curve.values[-1]:.1f}",
            (curve.totals[-1], curve.values[-1]),
            xytext=(0, 5),
            textcoords="offset points",
            # Away from the neighbor: a short stage, evaluated once, often follows close upon a long one.
            ha="right" if len(curve.values) > 1 else "left",
            fontsize="small",
        )


def _mark_stages(axes: Sequence[Axes], spans: Sequence[StageSpan]) -> None:
    for i, span in enumerate(spans):
        for axis in axes:
            if i % 2:
                axis.axvspan(span.start, span.stop, color="0.96", zorder=-1)
            if i:
                axis.axvline(span.start, color="0.7", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        middle = (span.start + span.stop) / 2
        axes[0].annotate(
            span.name,
            (middle, 1.0),
            xycoords=axes[0].get_xaxis_transform(),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            color="0.35",
            fontsize="small",
        )
    start, stop = spans[0].start, spans[-1].stop
    axes[-1].set_xlim(start, stop + max(0.01 * (stop - start), 0.5))


def save(figure: Figure, out: Path) -> None:
    """Write a picture as PNG, whole or not at all; its folder is made if need be."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        figure.savefig(partial, format="png")
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
