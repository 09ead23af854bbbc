"""The command line; see the package."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import benchmarks.accuracy
from benchmarks.accuracy.grid import Cell, installed, variants
from benchmarks.accuracy.sweep import decisive, environment, sweep
from benchmarks.accuracy.table import failed, table
from mplframe.engine.interrupt import Interrupted
from mplframe.errors import MplframeError
from mplframe.io.files import write_atomic


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 1 where a run failed, 2 where the input can't be right, 130 where it was stopped."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.table is not None:
        print(table(json.loads(given.table.read_text())), end="")
        return 0
    if given.grid is None or given.out is None:
        parser.error("give a grid and --out DIR, or --table FILE")
    return ended(lambda: run(given))


def ended(work: Callable[[], int]) -> int:
    """What `work` returns, or the exit code of the error or the signal that ended it."""
    try:
        return work()
    except MplframeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return Interrupted.exit_code


def run(given: argparse.Namespace) -> int:
    """Make every run that is missing; the JSON file is complete for those that have ended, at any time."""
    names = variants(given.grid, given.variant)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    cells = [Cell(given.grid, name, seed, tuple(given.set), given.out) for seed in seeds for name in names]
    components = installed()
    settings = {cell.variant: decisive(cell.config(components))["method"] for cell in cells[: len(names)]}
    order = {(cell.variant, cell.seed): number for number, cell in enumerate(cells)}
    found: dict[str, Any] = {
        "grid": str(given.grid),
        "set": given.set,
        "seeds": list(seeds),
        **environment(),
        "methods": settings,
        "runs": [],
    }
    for record in sweep(cells, given.jobs):
        print(
            f"{record['variant']}-{record['seed']}: {record.get('error') or record['top1']}",
            file=sys.stderr,
            flush=True,
        )
        found["runs"] = sorted([*found["runs"], record], key=lambda r: order[r["variant"], r["seed"]])
        if given.json is not None:
            write(given.json, found)
    print(table(found), end="")
    return 1 if failed(found) else 0


def write(path: Path, found: dict[str, Any]) -> None:
    """Write the results; whoever reads the file meanwhile finds the old or the new ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1) + "\n"
    write_atomic(path, lambda file: file.write(text.encode()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=benchmarks.accuracy.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("grid", type=Path, nargs="?", help="a config file; its profiles are the variants")
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--variant", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="laid on every variant")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the run folders")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the results go")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, one thread each")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the table of earlier results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
