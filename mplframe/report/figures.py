"""Figures in PNG: what a selection did, and how a sweep went."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from mplframe.report.curves import COLORS, save

BARS = 40
"""Up to this many classes, each gets bars; more are drawn as curves, the most frequent class first."""

_BEFORE, _AFTER, _COPIES = "0.6", COLORS[0], COLORS[1]


def selection_figure(report: Mapping[str, Any], out: Path, names: Sequence[str] = ()) -> None:
    """Draw the confidence of images before and after, what dropped them, and the classes before and after.

    Args:
        report: of `mplframe.selection`.
        out: PNG file to write; its folder is made if need be.
        names: of the classes, in index order; numbers where there are none.
    """
    figure = Figure(figsize=(10.0, 7.0), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2)
    _confidence(figure.add_subplot(grid[0, 0]), report)
    _fates(figure.add_subplot(grid[0, 1]), report)
    _classes(figure.add_subplot(grid[1, :]), report, names)
    save(figure, out)


def _confidence(axis: Axes, report: Mapping[str, Any]) -> None:
    before, after = report["tally"]["confidence"], report["confidence"]
    edges = np.linspace(0, 1, len(before) + 1)
    axis.stairs(before, edges, fill=True, color=_BEFORE, label="scored images")
    axis.stairs(after, edges, color=_AFTER, linewidth=1.6, label="rows selected")
    axis.set_xlabel("confidence")
    _counts(axis, [*before, *after])


def _fates(axis: Axes, report: Mapping[str, Any]) -> None:
    fates = {**{f"dropped: {rule}": n for rule, n in report["dropped"].items()}, "selected": report["selected"]}
    axis.barh(list(fates), list(fates.values()), color=[*[_BEFORE] * len(report["dropped"]), _AFTER])
    for place, count in enumerate(fates.values()):
        axis.annotate(
            f"{count:,}", (count, place), xytext=(3, 0), textcoords="offset points", va="center", size="small"
        )
    axis.margins(x=0.15)
    axis.invert_yaxis()
    axis.set_xlabel(f"images, of {report['tally']['images']:,}")
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.spines[["top", "right"]].set_visible(False)


def _classes(axis: Axes, report: Mapping[str, Any], names: Sequence[str]) -> None:
    drawn = {
        "scored, by most probable class": (report["tally"]["predicted"], _BEFORE),
        "rows selected": (report["rows_by_class"], _AFTER),
        "samples, with repetitions": (report["copies_by_class"], _COPIES),
    }
    classes = np.arange(len(report["rows_by_class"]))
    if len(classes) <= BARS:
        for place, (label, (counts, color)) in enumerate(drawn.items()):
            axis.bar(classes + 0.27 * (place - 1), counts, width=0.27, color=color, label=label)
        axis.set_xticks(
            classes, names or [str(c) for c in classes], rotation=45 if names else 0, ha="right" if names else "center"
        )
        axis.set_xlabel("class")
    else:
        order = np.argsort(-np.asarray(report["tally"]["predicted"]), kind="stable")
        for label, (counts, color) in drawn.items():
            axis.plot(classes, np.asarray(counts)[order], color=color, linewidth=1.2, label=label)
        axis.set_xlabel("classes, the most frequent among scored images first")
    _counts(axis, [n for counts, _ in drawn.values() for n in counts])


def _counts(axis: Axes, counts: Sequence[int]) -> None:
    axis.set_ylabel("count")
    # Linear from 0 to 1, so that empty bins have a place.
    axis.set_yscale("symlog", linthresh=1)
    axis.set_ylim(0, 3 * max(*counts, 1))
    axis.grid(axis="y", color="0.9", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize="small", loc="upper center", ncols=3)


COLUMNS = 3
MARKS = {"complete": ("o", COLORS[0]), "pruned": ("x", "0.6")}


def sweep_plot(found: Mapping[str, Any], ranges: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    """Draw the metric of all trials by number with the best so far, and then by each parameter.

    Args:
        found: what `mplframe.search.folder.report` returns.
        ranges: of the parameters, by key, as plain data.
        out: PNG file to write.
    """
    panels = 1 + len(ranges)
    columns = min(panels, COLUMNS)
    rows = math.ceil(panels / columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
    shown = [trial for trial in found["trials"] if trial["state"] in MARKS and trial["value"] is not None]
    _history(axes[0], shown, found)
    for axis, (key, given) in zip(axes[1:], ranges.items(), strict=False):
        _against(axis, shown, key, given, found)
    for axis in axes:
        axis.grid(axis="y", color="0.9", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[::columns]:
        axis.set_ylabel(f"{found['metric']} ({found['split']} split)")
    for axis in axes[panels:]:
        axis.set_visible(False)
    save(figure, out)


def _history(axis: Axes, shown: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> None:
    _points(axis, shown, [trial["number"] for trial in shown], found)
    complete = [trial for trial in shown if trial["state"] == "complete"]
    better = max if found["direction"] == "maximize" else min
    best = list(accumulate((trial["value"] for trial in complete), better))
    axis.step([trial["number"] for trial in complete], best, where="post", color=COLORS[1], label="best so far")
    axis.set_xlabel("trial")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(frameon=False, fontsize="small", loc="best")


def _against(
    axis: Axes,
    shown: Sequence[Mapping[str, Any]],
    key: str,
    given: Mapping[str, Any],
    found: Mapping[str, Any],
) -> None:
    tried = [trial for trial in shown if key in trial["values"]]
    if given["choices"]:
        names = list(dict.fromkeys(str(trial["values"][key]) for trial in tried))
        _points(axis, tried, [names.index(str(trial["values"][key])) for trial in tried], found)
        axis.set_xticks(range(len(names)), [name if len(name) <= 16 else f"{name[:15]}…" for name in names])
    else:
        _points(axis, tried, [trial["values"][key] for trial in tried], found)
        if given["log"]:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlim(given["low"], given["high"])
    share = found["importance"].get(key)
    axis.set_xlabel(key if share is None else f"{key}\n{100 * share:.0f} % of the variance", fontsize="small")


def _points(axis: Axes, trials: Sequence[Mapping[str, Any]], places: Sequence[float], found: Mapping[str, Any]) -> None:
    for state, (marker, color) in MARKS.items():
        own = [(x, trial["value"]) for x, trial in zip(places, trials, strict=True) if trial["state"] == state]
        if own:
            axis.scatter([x for x, _ in own], [y for _, y in own], s=22, marker=marker, color=color, label=state)
    best = found["best"]
    if best is not None:
        x = next(x for x, trial in zip(places, trials, strict=True) if trial["number"] == best["number"])
        axis.scatter([x], [best["value"]], s=70, facecolors="none", edgecolors=COLORS[1], linewidths=1.6)
