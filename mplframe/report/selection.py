"""What a selection came to, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

WIDTH = 40

FEW = 20
"""Up to this many classes are listed; of more, those with the fewest and the most samples."""


def selection_table(report: Mapping[str, Any]) -> RenderableType:
    """The report of `mplframe.selection` as tables: what became of all images, classes and confidence before and after.

    Args:
        report: as `mplframe.api.select` returns it.
    """
    fates = Table("images", "", box=None, pad_edge=False, header_style="bold")
    tally = report["tally"]
    rows = {"scored": tally["images"], **{f"dropped: {rule}": n for rule, n in report["dropped"].items() if n}}
    for name, count in {**rows, "selected": report["selected"]}.items():
        fates.add_row(name, f"{count:,}")
    repeated = report["copies"] - report["rows"]
    lines = [f"{report['rows']:,} rows + {repeated:,} repetitions = {report['copies']:,} samples, in {report['out']}"]
    filled = [n for n in report["copies_by_class"] if n]
    if filled:
        empty = len(report["copies_by_class"]) - len(filled)
        lines.append(f"samples a class: {min(filled):,} to {max(filled):,}; {empty} classes have none")
    if report["known"]:
        lines.append(f"{100 * report['correct'] / report['known']:.1f} % of the known labels are right")
    if "report" in report:
        lines.append(report["report"])
    return Group(fates, *lines, _classes(report), _histogram(tally["confidence"], report["confidence"]))


def _classes(report: Mapping[str, Any]) -> Table:
    table = Table("class", "scored", "candidates", "rows", "samples", box=None, pad_edge=False, header_style="bold")
    copies = report["copies_by_class"]
    order = sorted(range(len(copies)), key=lambda c: (copies[c], c)) if len(copies) > FEW else list(range(len(copies)))
    tally = report["tally"]
    for place, c in enumerate(order if len(order) <= FEW else [*order[: FEW // 2], *order[-FEW // 2 :]]):
        if len(order) > FEW and place == FEW // 2:
            table.add_row(f"... {len(order) - FEW:,} more")
        counts = (tally["predicted"][c], tally["candidates"][c], report["rows_by_class"][c], copies[c])
        table.add_row(report["names"][c] if report["names"] else str(c), *(f"{count:,}" for count in counts))
    return table


def _histogram(before: list[int], after: list[int]) -> Table:
    table = Table("confidence", "scored", "", "selected", box=None, pad_edge=False, header_style="bold")
    most = max(*before, *after, 1)
    for bin_, (scored, selected) in enumerate(zip(before, after, strict=True)):
        if scored or selected:
            bar = "#" * round(WIDTH * scored / most)
            table.add_row(f"{bin_ / len(before):.2f}", f"{scored:,}", bar, f"{selected:,}")
    return table
