"""The tables, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.two_moons.results import SOLVED, Comparison, Interval, compare, mean, success
from benchmarks.two_moons.settings import Setting
from benchmarks.two_moons.tables import ablation

Cell = dict[str, Any]
Cells = dict[str, Cell]
SWEEPS = ("sweep/", "afterwards/")
OFF = "off"


def markdown(cells: Cells, prefixes: tuple[str, ...] = ("",)) -> str:
    """The cells whose names begin so.

    Methods get a table for each beginning of names up to the last slash, with intervals; each row with feedback says
    how many seeds it alone solved and how many its ablation alone, with the p of McNemar's exact test. A sweep gets
    one table, with a row for each change and a column for each estimator.
    """
    chosen = [name for name in cells if name.startswith(prefixes)]
    groups: dict[str, list[str]] = {}
    for name in chosen:
        title = next((sweep for sweep in SWEEPS if name.startswith(sweep)), name.rpartition("/")[0])
        groups.setdefault(title, []).append(name)
    tables = [(_sweep if title in SWEEPS else _methods)(title, names, cells) for title, names in groups.items()]
    return "\n\n".join(tables)


def _methods(title: str, names: list[str], cells: Cells) -> str:
    head = ("student solved", "student's accuracy", "teacher solved", "teacher's accuracy", "won, lost, p")
    lines = [_line([title, *head]), _rule(len(head) + 1)]
    for name in names:
        cell = cells[name]
        columns = [f(cell[role]) for role in ("student", "teacher") for f in (_success, _mean)]
        against = _against(cell, cells)
        told = "" if against is None else f"{against.only_first}, {against.only_second}, {against.p:.2g}"
        lines.append(_line([name.rpartition("/")[2], *columns, told]))
    return "\n".join(lines)


def _sweep(title: str, names: list[str], cells: Cells) -> str:
    rows: dict[str, dict[str, str]] = {}
    for name in names:
        change, _, estimator = name.removeprefix(title).rpartition("/")
        row = rows.setdefault(change, {})
        row[estimator] = _solved(cells[name], cells)
        if (other := _ablated(cells[name], cells)) is not None:
            row[OFF] = str(_count(other))
    columns = [OFF, *dict.fromkeys(estimator for row in rows.values() for estimator in row if estimator != OFF)]
    lines = [_line(["change", *columns]), _rule(len(columns) + 1)]
    lines += [_line([change, *(row.get(column, "") for column in columns)]) for change, row in rows.items()]
    return "\n".join(lines)


def _solved(cell: Cell, cells: Cells) -> str:
    against = _against(cell, cells)
    if against is None:
        return str(_count(cell))
    sure = "**" if against.p < 0.05 else ""
    return f"{sure}{_count(cell)}{sure} (+{against.only_first} −{against.only_second})"


def _count(cell: Cell) -> int:
    return sum(accuracy > SOLVED for accuracy in cell["student"])


def _against(cell: Cell, cells: Cells) -> Comparison | None:
    other = _ablated(cell, cells)
    return None if other is None else compare(cell["student"], other["student"])


def _ablated(cell: Cell, cells: Cells) -> Cell | None:
    """The ablation of a cell with feedback."""
    setting = Setting(**cell["setting"])
    wanted = {"setting": ablation(setting).dump(), "seeds": cell["seeds"]}
    if setting.estimator == "off":
        return None
    return next((c for c in cells.values() if {key: c[key] for key in wanted} == wanted), None)


def _success(values: list[float]) -> str:
    found = success(values)
    return f"{100 * found.value:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f})"


def _mean(values: list[float]) -> str:
    return _interval(mean(values))


def _interval(found: Interval) -> str:
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _line(columns: Iterable[str]) -> str:
    return f"| {' | '.join(columns)} |"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns
