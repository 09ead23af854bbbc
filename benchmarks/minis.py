"""The papers' presets in small: what each kind of recipe gives when its `mini` profile is trained on Fashion-MNIST.

    python -m benchmarks.minis --out runs/minis --json benchmarks/results/minis.json
    python -m benchmarks.minis --table benchmarks/results/minis.json

Beside each recipe with feedback stands the same one without. Each run is an ordinary run folder, made by one thread;
the same command goes on where it was stopped, and finds finished runs again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.accuracy.__main__ import ended, write
from benchmarks.accuracy.grid import Cell
from benchmarks.accuracy.sweep import environment, record
from benchmarks.accuracy.table import failed, table

PRESETS = Path("examples") / "paper"


@dataclass(frozen=True)
class Row:
    """A preset, with or without feedback.

    Attributes:
        preset: the file below `examples/paper`, without suffix.
        seeds: how many, from 0 on.
        feedback: whether the recipe's feedback stays on.
    """

    preset: str
    seeds: int = 1
    feedback: bool = True

    @property
    def name(self) -> str:
        """Of the table's row."""
        return Path(self.preset).name + ("" if self.feedback else " without feedback")

    def cell(self, seed: int, out: Path) -> Cell:
        """One run; its folder is `OUT/PRESET/mini-SEED`, or `OUT/PRESET-off/mini-SEED`."""
        changes = () if self.feedback else ("method.feedback=off",)
        folder = out / (Path(self.preset).name + ("" if self.feedback else "-off"))
        return Cell(PRESETS / f"{self.preset}.yaml", "mini", seed, changes, folder)


GROUPS = {
    "CIFAR-10-4K": (
        Row("mpl/table9_cifar10_4k_supervised", 2),
        Row("mpl/table2_cifar10_4k_uda", 2),
        Row("mpl/table2_cifar10_4k_mpl", 2),
        Row("mpl/table2_cifar10_4k_mpl", 2, feedback=False),
    ),
    "ImageNet-10%": (
        Row("mpl/table2_imagenet_10pct_uda"),
        Row("mpl/table2_imagenet_10pct_mpl"),
        Row("mpl/table2_imagenet_10pct_mpl", feedback=False),
    ),
    "EfficientNet-L2": (Row("mpl/table4_efficientnet_l2_mpl"), Row("mpl/table4_efficientnet_l2_mpl", feedback=False)),
    "Other methods, EfficientNet-B0": (
        Row("mpl/table11_cifar10_supervised"),
        Row("mpl/table11_cifar10_noisy_student"),
        Row("mpl/table11_cifar10_reduced_mpl"),
        Row("mpl/table11_cifar10_reduced_mpl", feedback=False),
    ),
    "Noisy Student": (
        Row("noisy_student/table6_130m_supervised"),
        Row("noisy_student/table6_130m_noisy_student"),
        Row("noisy_student/table6_130m_no_noise"),
        Row("noisy_student/section3_1_three_iterations"),
    ),
    "Billion-scale": (Row("billion_scale/table2_resnet18_supervised"), Row("billion_scale/table4_self_resnet18")),
    "Soft labels": (Row("mpl_v1/table3_cifar10_4k"), Row("mpl_v1/table3_cifar10_4k", feedback=False)),
    "Regularisers": (
        Row("mpl/table9_cifar10_4k_label_smoothing"),
        Row("mpl/table10_mixup"),
        Row("mpl/table10_randaugment"),
        Row("mpl/table10_pseudo_labels"),
    ),
    "All labels": (Row("mpl/table2_cifar10_4k_supervised"),),
}
"""Tables of rows that can be compared; every kind of recipe is in one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 1 where a run failed, 2 where the input can't be right, 130 where it was stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.minis", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--group", action="append", choices=list(GROUPS), help="only this table; may be repeated")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the run folders")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the results go")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the tables of earlier results")
    given = parser.parse_args(arguments)
    if given.table is not None:
        print(tables(json.loads(given.table.read_text())), end="")
        return 0
    if given.out is None or given.json is None:
        parser.error("give --out DIR and --json FILE, or --table FILE")
    return ended(lambda: run(given.group or list(GROUPS), given.out, given.json))


def run(groups: Sequence[str], out: Path, results: Path) -> int:
    """Make every run that is missing; the JSON file is complete for those that have ended, at any time."""
    found = _earlier(results)
    for row, seed in planned(groups):
        new = made(row, seed, out, found.get((row.name, seed), {}))
        print(f"{row.name}, seed {seed}: {new.get('error') or new['top1']}", file=sys.stderr, flush=True)
        found[row.name, seed] = new
        write(results, {**environment(), "runs": [found[key] for key in _keys(list(GROUPS)) if key in found]})
    print(tables({"runs": list(found.values())}), end="")
    return 1 if failed({"runs": list(found.values())}) else 0


def made(row: Row, seed: int, out: Path, earlier: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a run, with the processor's seconds of all of it where it was made in one go."""
    cell = row.cell(seed, out)
    anew, started = not cell.folder.exists(), time.process_time()
    found = record(cell)
    seconds = round(time.process_time() - started, 1) if anew else earlier.get("cpu_seconds")
    return {**found, "variant": row.name, "cpu_seconds": seconds}


def planned(groups: Sequence[str]) -> list[tuple[Row, int]]:
    """Runs in the order in which they are made: every row once, then the second seeds."""
    rows = [row for group in groups for row in GROUPS[group]]
    most = max(row.seeds for row in rows)
    return [(row, seed) for seed in range(most) for row in rows if seed < row.seeds]


def tables(results: Mapping[str, Any]) -> str:
    """For each group its title and, where it has runs, its table; what has feedback is compared with what hasn't."""
    return "\n".join(f"### {title}\n\n{text}" for title, text in by_group(results).items())


def by_group(results: Mapping[str, Any]) -> dict[str, str]:
    """The table of each group that has runs."""
    found = {}
    for title, rows in GROUPS.items():
        names = [row.name for row in rows]
        runs = [run for name in names for run in results["runs"] if run["variant"] == name]
        if runs:
            without = [row.name for row in rows if not row.feedback]
            found[title] = table({"runs": runs}, references=without)
    return found


def _keys(groups: Sequence[str]) -> list[tuple[str, int]]:
    return [(row.name, seed) for group in groups for row in GROUPS[group] for seed in range(row.seeds)]


def _earlier(results: Path) -> dict[tuple[str, int], dict[str, Any]]:
    runs = json.loads(results.read_text())["runs"] if results.exists() else []
    return {(run["variant"], run["seed"]): run for run in runs}


if __name__ == "__main__":
    sys.exit(main())
