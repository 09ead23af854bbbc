"""What selection costs: time, CPU time and peak memory by the number of scored images, and what a billion would cost.

    python benchmarks/selection.py --images 100000 1000000 --json benchmarks/results/selection.json

Scores are made up: 1,000 classes whose frequencies are log-normal (some have a hundred times the images of others), the
10 most probable classes of each image, 10,000 images a shard. Each selection runs in a process of its own. Peak memory
is the most that this process had resident (VmHWM), scratch the most that its temporary folder held.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from mplframe.selection.config import ResourceConfig, SelectionConfig
from mplframe.selection.score_files import ScoreFolder, ScoreWriter
from mplframe.selection.scores import ScoreBatch, ScoreFormat
from mplframe.selection.select import select

CLASSES, TOP_P, SHARD = 1000, 10, 10_000
SELECTIONS = {
    "top-K": SelectionConfig(top_p=10, top_k=1600),
    "balanced": SelectionConfig(threshold=0.3, top_k=1600, balance=True),
    "unbalanced": SelectionConfig(top_p=10, total=1_600_000),
}
TIMES, SPACES = ("seconds", "cpu_seconds"), ("peak_gib", "scratch_gib")


def make_scores(folder: Path, images: int) -> None:
    """Add the shards that are missing up to this number of images; shard n is the same whatever the number."""
    writer = ScoreWriter(str(folder), ScoreFormat(classes=CLASSES, top_p=TOP_P, checkpoint="benchmark"))
    frequency = np.random.default_rng(0).lognormal(0, 1.2, CLASSES)
    cumulative = np.cumsum(frequency / frequency.sum())
    numbers = {f"unlabeled-{n:06d}.tar": n for n in range(-(-images // SHARD))}
    for name in writer.pending(numbers):
        with writer.shard(name) as scores:
            scores.add(shard(numbers[name], min(SHARD, images - SHARD * numbers[name]), cumulative))


def shard(number: int, images: int, cumulative: np.ndarray) -> ScoreBatch:
    """Scores whose first class follows the frequencies; the others are spread over the rest."""
    rng = np.random.default_rng([1, number])
    first = np.searchsorted(cumulative, rng.random(images)).clip(0, CLASSES - 1)
    step = rng.integers(1, CLASSES // TOP_P, images)
    logits = -np.sort(-rng.standard_normal((images, TOP_P)) * rng.gamma(2.0, 1.5, images)[:, None], axis=1)
    odds = np.exp(logits - logits[:, :1])
    return ScoreBatch(
        keys=[f"{number:06d}-{n:05d}" for n in range(images)],
        index=np.arange(images),
        classes=(first[:, None] + step[:, None] * np.arange(TOP_P)) % CLASSES,
        probabilities=(odds / (odds.sum(axis=1, keepdims=True) + 0.01)).astype(np.float32),
    )


def measure(scores: Path, images: int, name: str, resources: ResourceConfig) -> dict[str, Any]:
    """Run one selection in a process of its own."""
    command = [sys.executable, __file__, "--one", name, "--scores", str(scores), "--images", str(images)]
    command += ["--memory", str(resources.memory_gib), "--threads", str(resources.threads)]
    command += ["--scratch", resources.scratch or ""]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def one(scores: Path, images: int, name: str, resources: ResourceConfig) -> dict[str, Any]:
    """Run one selection here."""
    shards = [f"unlabeled-{n:06d}.tar" for n in range(-(-images // SHARD))]
    with TemporaryDirectory(dir=resources.scratch) as folder:
        limited = resources.model_copy(update={"scratch": folder})
        with watched(Path(folder)) as scratch:
            started, cpu = time.perf_counter(), time.process_time()
            manifest = Path(folder) / "manifest.parquet"
            report = select(ScoreFolder(str(scores), shards=shards), str(manifest), SELECTIONS[name], resources=limited)
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {
        "selection": name,
        "images": images,
        "candidates": sum(report.tally.candidates),
        "rows": report.rows,
        "copies": report.copies,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_gib": peak_memory(),
        "scratch_gib": max(scratch),
    }


@contextmanager
def watched(folder: Path) -> Iterator[list[float]]:
    """The sizes (GiB) of the files below a folder while the block runs, every tenth of a second."""
    sizes, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            sizes.append(sum(size_of(path) for path in folder.rglob("*")) / 2**30)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sizes
    finally:
        done.set()
        thread.join()


def size_of(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512 if path.is_file() else 0
    except FileNotFoundError:  # gone since it was listed
        return 0


def peak_memory() -> float:
    """GiB; of this process alone, unlike what `getrusage` keeps from before it was this program."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**20


def projected(results: list[dict[str, Any]], images: int) -> list[dict[str, Any]]:
    """The time that each selection would take, by the line through its two largest measurements.

    Memory isn't projected: what is held is bounded by classes x K, and by the limit that is set.
    """
    found = []
    for name in SELECTIONS:
        measured = sorted((r for r in results if r["selection"] == name), key=lambda r: r["images"])[-2:]
        if len(measured) == 2:
            less, more = measured
            steps = (images - more["images"]) / (more["images"] - less["images"])
            values = {key: more[key] + steps * (more[key] - less[key]) for key in TIMES}
            found.append({"selection": name, "images": images, **values})
    return found


def table(results: list[dict[str, Any]], projection: list[dict[str, Any]]) -> Table:
    found = Table("selection", "images", "candidates", "rows", "wall s", "CPU s", "peak GiB", "scratch GiB")
    for result in results:
        counts = [f"{result[key]:,}" for key in ("images", "candidates", "rows")]
        values = [f"{result[key]:,.1f}" for key in TIMES] + [f"{result[key]:.2f}" for key in SPACES]
        found.add_row(result["selection"], *counts, *values)
    for result in projection:
        times = [f"{result[key]:,.0f}" for key in TIMES]
        found.add_row(result["selection"], f"{result['images']:,}", "projected", "", *times, "", "")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 1_000_000], help="numbers of scored images")
    parser.add_argument("--selections", nargs="+", choices=SELECTIONS, default=list(SELECTIONS))
    parser.add_argument("--memory", type=float, default=4.0, help="GiB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scratch", default=None, help="folder for what doesn't fit into memory")
    parser.add_argument("--scores", type=Path, help="folder for the scores, kept for another time")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--one", choices=SELECTIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    resources = ResourceConfig(memory_gib=options.memory, threads=options.threads, scratch=options.scratch or None)
    pa.set_cpu_count(options.threads)
    if options.one:
        json.dump(one(options.scores, options.images[0], options.one, resources), sys.stdout)
        return
    with TemporaryDirectory(dir=options.scratch) as temporary:
        scores = options.scores or Path(temporary)
        results = []
        for images in sorted(options.images):
            make_scores(scores, images)
            results += [measure(scores, images, name, resources) for name in options.selections]
            print(f"{images:,} images done", file=sys.stderr)
    projection = projected(results, 1_000_000_000)
    Console(width=120).print(table(results, projection))
    if options.json:
        found = {
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "duckdb": duckdb.__version__},
            "resources": {"memory_gib": options.memory, "threads": options.threads},
            "scores": {"classes": CLASSES, "top_p": TOP_P, "images_a_shard": SHARD},
            "selections": {name: SELECTIONS[name].dump() for name in options.selections},
            "results": results,
            "projection": projection,
        }
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
