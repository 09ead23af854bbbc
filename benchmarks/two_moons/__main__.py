"""Runs what hasn't finished yet, prints the tables, draws the figure.

python -m benchmarks.two_moons --seeds 20 --json benchmarks/results/two_moons.json \
    --figure benchmarks/results/two_moons.png
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.two_moons.points import draw
from benchmarks.two_moons.report import markdown
from benchmarks.two_moons.results import Store
from benchmarks.two_moons.settings import Cell
from benchmarks.two_moons.tables import cells
from benchmarks.two_moons.trial import run

NETWORKS = 160
"""Pairs that are trained together: more gain nothing on a CPU, and less is lost when a run is stopped."""

Named = tuple[str, Cell]


def together(wanted: dict[str, Cell]) -> Iterator[list[Named]]:
    """Cells of the same shape and seeds, in parts of about `NETWORKS` pairs, in order of their first."""
    order: dict[object, list[Named]] = {}
    for name, cell in wanted.items():
        order.setdefault((cell.seeds, cell.setting.shape), []).append((name, cell))
    for group in order.values():
        size = max(1, NETWORKS // len(group[0][1].seeds))
        yield from (group[start : start + size] for start in range(0, len(group), size))


def train(store: Store, wanted: dict[str, Cell]) -> None:
    """Train the cells that the store hasn't got; it keeps each part when it has finished."""
    missing = {name: cell for name, cell in wanted.items() if not store.has(name, cell)}
    left = len(missing)
    for part in together(missing):
        started = time.perf_counter()
        results = run([cell.setting for _, cell in part], draw(part[0][1].seeds, part[0][1].setting.labeled_per_class))
        seconds = time.perf_counter() - started
        store.add({name: (cell, result) for (name, cell), result in zip(part, results, strict=True)}, seconds)
        left -= len(part)
        print(f"{part[0][0]} and {len(part) - 1} more: {seconds:.0f} s, {left} cells left", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/two_moons.json"))
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--only", action="append", metavar="PREFIX", help="cells whose name begins so; repeatable")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    chosen = tuple(arguments.only or [""])
    declared = cells(arguments.seeds)
    wanted = {name: cell for name, cell in declared.items() if name.startswith(chosen)}
    if not wanted:
        parser.error(f"no cell's name begins with {' or '.join(chosen)}; they begin with fast/, sweep/, paper/, ...")
    store = Store(arguments.json)
    train(store, wanted)
    print(markdown({name: store.cells[name] for name in declared if name in store.cells}, chosen))
    if arguments.figure:
        from benchmarks.two_moons.figure import draw_figure

        draw_figure(store, arguments.figure)


if __name__ == "__main__":
    main()
