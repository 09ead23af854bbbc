"""A sweep as a picture: how the best trial came about, and each parameter against the metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from mplframe.report.curves import COLORS, save

COLUMNS = 3
MARKS = {"complete": ("o", COLORS[0]), "pruned": ("x", "0.6")}


def sweep_plot(found: Mapping[str, Any], ranges: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    """Draw the metric of all trials by number with the best so far, and then by each parameter.

    Args:
        found: what `mplframe.search.report.report` returns.
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
