"""A config over several seeds and variants: means, spreads, and how often one beats another.

    python benchmarks/seeds.py examples/quickstart.yaml --seeds 5 \
        --variant mpl --variant off:method.feedback=off --out runs/seeds --json benchmarks/results/quickstart.json

Each seed draws its own labeled samples (`data.split_seed`) as well as its own weights, order and pseudo labels. Finished
runs are found again in the output folder, so a benchmark that was stopped goes on. The config's baselines train in the
first variant only: they don't depend on the others.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import mplframe

Scores = dict[str, list[float]]
"""Test accuracy by column, one entry a seed."""


def one(config: str, out: Path, overrides: list[str]) -> dict[str, Any]:
    """The summary of a run, from its folder where it has finished already."""
    done = out / "summary.json"
    if not done.exists():
        mplframe.run(mplframe.load(config, overrides=overrides), out=out)
    summary: dict[str, Any] = json.loads(done.read_text())
    return summary


def scores(config: str, variants: dict[str, list[str]], seeds: range, out: Path, common: list[str]) -> Scores:
    """Every variant at every seed; the teacher's and the baselines' accuracy beside the student's."""
    found: Scores = {}
    for seed in seeds:
        for number, (name, changes) in enumerate(variants.items()):
            alone = [] if number == 0 else ["baselines=[]"]
            overrides = [f"seed={seed}", f"data.split_seed={seed}", *common, *alone, *changes]
            summary = one(config, out / f"{name}-{seed}", overrides)
            rows = {name: summary["final"]["top1"]}
            if number == 0:
                rows |= {f"{base}": metrics["top1"] for base, metrics in summary["baselines"].items()}
            for stage, results in summary["stages"].items():
                if "teacher" in results["networks"]:
                    rows[f"{name}: teacher"] = results["networks"]["teacher"]["top1"]
                    rows[f"{name}: student before finetuning"] = results["networks"]["student"]["top1"]
            for column, value in rows.items():
                found.setdefault(column, []).append(value)
            print(f"seed {seed}: " + ", ".join(f"{column} {value:.4f}" for column, value in rows.items()), flush=True)
    return found


def summarise(found: Scores, reference: str) -> list[dict[str, Any]]:
    """Mean, standard deviation, and the paired difference to `reference` with its standard error."""
    rows = []
    for column, values in found.items():
        pairs = [a - b for a, b in zip(found[reference], values, strict=True)]
        spread = statistics.stdev(pairs) / len(pairs) ** 0.5 if len(pairs) > 1 else float("nan")
        rows.append(
            {
                "what": column,
                "mean": statistics.fmean(values),
                "std": statistics.stdev(values) if len(values) > 1 else float("nan"),
                "difference": statistics.fmean(pairs),
                "standard_error": spread,
                "wins": sum(pair > 0 for pair in pairs),
                "ties": sum(pair == 0 for pair in pairs),
                "values": values,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--variant", action="append", metavar="NAME[:KEY=VALUE,...]", required=True)
    parser.add_argument("--set", action="append", default=[], dest="common", metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    variants = {text.partition(":")[0]: [c for c in text.partition(":")[2].split(",") if c] for text in arguments.variant}
    found = scores(arguments.config, variants, range(arguments.seeds), arguments.out, arguments.common)
    first = next(iter(variants))
    rows = summarise(found, first)
    table = Table(title=f"{arguments.config}, {arguments.seeds} seeds, test accuracy")
    for column in ("what", "mean", "std", f"{first} minus it", f"{first} better"):
        table.add_column(column)
    for row in rows:
        difference = "" if row["what"] == first else f"{row['difference']:+.4f} +- {row['standard_error']:.4f}"
        wins = "" if row["what"] == first else f"{row['wins']} of {arguments.seeds}"
        table.add_row(row["what"], f"{row['mean']:.4f}", f"{row['std']:.4f}", difference, wins)
    Console(width=120).print(table)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        content = {"config": arguments.config, "seeds": arguments.seeds, "variants": variants, "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
