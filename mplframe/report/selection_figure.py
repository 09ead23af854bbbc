"""What a selection did to classes and confidence, as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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
