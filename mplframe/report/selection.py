"""What a selection came to, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

WIDTH = 40


def selection_table(report: Mapping[str, Any]) -> RenderableType:
    """The report of `mplframe.selection` as tables: what became of all images, and the confidence before and after."""
    fates = Table("images", "", box=None, pad_edge=False, header_style="bold")
    tally = report["tally"]
    rows = {"scored": tally["images"], **{f"dropped: {rule}": n for rule, n in report["dropped"].items() if n}}
    for name, count in {**rows, "selected": report["selected"]}.items():
        fates.add_row(name, f"{count:,}")
    lines = [f"{report['rows']:,} rows, {report['copies']:,} samples with repetitions, in {report['out']}"]
    filled = [n for n in report["copies_by_class"] if n]
    if filled:
        empty = len(report["copies_by_class"]) - len(filled)
        lines.append(f"samples a class: {min(filled):,} to {max(filled):,}; {empty} classes have none")
    if report["known"]:
        lines.append(f"{100 * report['correct'] / report['known']:.1f} % of the known labels are right")
    return Group(fates, *lines, _histogram(tally["confidence"], report["confidence"]))


def _histogram(before: list[int], after: list[int]) -> Table:
    table = Table("confidence", "scored", "", "selected", box=None, pad_edge=False, header_style="bold")
    most = max(*before, *after, 1)
    for bin_, (scored, selected) in enumerate(zip(before, after, strict=True)):
        if scored or selected:
            bar = "#" * round(WIDTH * scored / most)
            table.add_row(f"{bin_ / len(before):.2f}", f"{scored:,}", bar, f"{selected:,}")
    return table
