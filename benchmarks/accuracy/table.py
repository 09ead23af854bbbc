"""The Markdown table of a sweep, from its JSON alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.accuracy.comparison import Comparison, Values, compare, spread

REFERENCES = ("off", "uda")
"""What every row is compared with where the grid has it."""


def table(sweep: Mapping[str, Any], *, references: Sequence[str] = REFERENCES) -> str:
    """One row for each variant, for the baselines that configs bring, and for teachers and students before finetuning.

    Teachers, and students before finetuning, are compared with those of the reference where it has them.

    Args:
        sweep: what a sweep has written.
        references: variants that every row is compared with.
    """
    runs = [run for run in sweep["runs"] if "error" not in run]
    rows = columns(runs)
    compared = [name for name in references if name in rows]
    header = ["test top-1, %", "seeds", "mean", "std"]
    for name in compared:
        header += [f"minus `{name}` (95 %)", "better"]
    lines = [[*header, "seconds", "images"], ["---"] * (len(header) + 2)]
    lines += [[*_row(name, rows, compared), *_cost(name, runs)] for name in rows]
    notes = [f"\n{run['variant']} at seed {run['seed']} failed: {run['error']}\n" for run in failed(sweep)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "".join(notes)


def failed(sweep: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Runs that didn't end."""
    return [run for run in sweep["runs"] if "error" in run]


def columns(runs: Iterable[Mapping[str, Any]]) -> dict[str, dict[int, float]]:
    """Test accuracy by row of the table and by seed: variants first, in the order of the runs."""
    final: dict[str, dict[int, float]] = {}
    inner: dict[str, dict[int, float]] = {}
    for run in runs:
        variant, seed = run["variant"], run["seed"]
        final.setdefault(variant, {})[seed] = run["top1"]
        for name, metrics in run["baselines"].items():
            inner.setdefault(f"{name} (baseline)", {})[seed] = metrics["top1"]
        own = {name: stage for name, stage in run["stages"].items() if name not in run["baselines"]}
        *_, last = own
        for name, stage in own.items():
            if "teacher" in stage:
                inner.setdefault(f"{variant}: teacher", {})[seed] = stage["teacher"]["top1"]
            if "student" in stage and name != last:
                inner.setdefault(f"{variant}: before finetuning", {})[seed] = stage["student"]["top1"]
    return {**final, **inner}


def counterpart(name: str, reference: str, rows: Mapping[str, Values]) -> str:
    """The row to compare with: like with like, so that a teacher is held against the teacher of the reference."""
    twin = f"{reference}:{name.partition(':')[2]}"
    return twin if twin in rows else reference


def _row(name: str, rows: Mapping[str, Values], references: Sequence[str]) -> list[str]:
    values = rows[name]
    cells = [name, str(len(values)), _percent(statistics.fmean(values.values())), _percent(spread(values))]
    for reference in references:
        twin = counterpart(name, reference, rows)
        found = None if name == twin else compare(values, rows[twin])
        cells += ["", ""] if found is None else [_difference(found), _better(found)]
    return cells


def _cost(name: str, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Seconds, the mean over the runs of a variant, and images fed; nothing for other rows."""
    mine = [run for run in runs if run["variant"] == name]
    if not mine:
        return ["", ""]
    return [f"{statistics.fmean(run['seconds'] for run in mine):.0f}", f"{mine[0]['images']:,}"]


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{100 * share:.2f}"


def _difference(found: Comparison) -> str:
    within = "" if math.isnan(found.half_width) else f" ± {100 * found.half_width:.2f}"
    return f"{100 * found.mean:+.2f}{within}"


def _better(found: Comparison) -> str:
    ties = f", {found.ties} tied" if found.ties else ""
    return f"{found.better} of {found.seeds}{ties}"
