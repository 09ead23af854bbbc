"""What a sweep has found, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

SHOWN = 10


def sweep_table(found: Mapping[str, Any]) -> RenderableType:
    """The best complete trials, how many there are of each state, and what they were judged on.

    Args:
        found: what `mplframe.search.report.report` returns.
    """
    complete = [trial for trial in found["trials"] if trial["state"] == "complete"]
    ranked = sorted(complete, key=lambda trial: trial["value"], reverse=found["direction"] == "maximize")
    keys = list(dict.fromkeys(key for trial in ranked for key in trial["values"]))
    table = Table("trial", found["metric"], "seconds", box=None, pad_edge=False, header_style="bold")
    for key in keys:
        share = found["importance"].get(key)
        table.add_column(key if share is None else f"{key} ({100 * share:.0f} %)", overflow="fold")
    for trial in ranked[:SHOWN]:
        cells = [str(trial["number"]), f"{trial['value']:.4f}", f"{trial['seconds']:.0f}"]
        table.add_row(*cells, *(_short(trial["values"].get(key)) for key in keys))
    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items())
    lines = [f"{len(found['trials'])} trials: {counts}; judged on the {_judged(found['split'])}."]
    if found["importance"]:
        lines += ["Percentages: each parameter's share of the metric's variance (fANOVA)."]
    if found["best"] is not None:
        lines += [f"The best configuration: {found['out']}/best.yaml"]
    return Group(table, *lines)


def _judged(split: str) -> str:
    if split == "test":
        return "test split, so that its numbers are too good for what was chosen by them"
    return "labeled samples held out of training; best.yaml is judged on the test split"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
