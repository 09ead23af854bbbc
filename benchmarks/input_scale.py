"""How the cost of starting grows with shards and keys, and how fast samples are read by index.

    python benchmarks/input_scale.py --json benchmarks/results/input_scale.json

Start: shards are sparse files of the right size with a side-car index of the given number of keys, so that even 1e8
samples fit on a disk; nothing is decoded. `first` opens every side-car, `again` is any later start. Each case runs in a
process of its own, whose peak of resident memory is told beside what it has after the imports. `--full` adds 100,000
shards with 1e8 keys (a few minutes).

Read: encoded samples a second of processor time, one thread, from warm local shards: in training order (16 shards
shuffled together), front to back, and by webdataset, which reads front to back.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import re
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import webdataset as wds

from mplframe.data.shards.index import BLOCK, ShardIndex
from mplframe.data.shards.index_files import sidecar_bytes
from mplframe.data.shards.source import WebDataset
from mplframe.data.shards.split import ShardSplit
from mplframe.data.stream import Order

CASES = ((1, 10**3), (10, 10**4), (100, 10**5), (1_000, 10**6), (10_000, 10**7))
LARGEST = (100_000, 10**8)
IMAGES = {"32 px": (1_000, 16_000), "224 px": (20_000, 4_000)}
"""Bytes of a JPEG, and samples to read."""
SHARDS = 16
BATCH = 256
LINKS = 10_000  # of one file, which a file system bounds


def open_labeled(urls: str, cache: Path) -> ShardSplit:
    split = WebDataset(WebDataset.Config(labeled=urls, classes=10, cache=str(cache), memory_mb=0)).split("labeled")
    assert isinstance(split, ShardSplit)
    return split


def index_of(samples: int) -> ShardIndex:
    """Of a shard of JPEGs of 20,000 bytes with their labels; the headers are zeros, as they are in a sparse file."""
    offset = BLOCK + np.arange(2 * samples, dtype=np.int64) // 2 * 22_016 + np.tile([0, 1_024], samples)
    keys = b"".join(b"%012d" % number for number in range(samples))
    return ShardIndex(
        size=int(offset[-1]) + 20_480 + 2 * BLOCK,
        check=zlib.crc32(bytes(3 * BLOCK)),
        damage=(),
        keys=np.frombuffer(keys, np.uint8),
        key_ends=np.arange(1, samples + 1, dtype=np.int64) * 12,
        extensions=("cls", "jpg"),
        first=np.arange(0, 2 * samples + 1, 2, dtype=np.int64),
        extension=np.tile(np.array([0, 1], np.uint16), samples),
        offset=offset,
        length=np.tile(np.array([1, 20_000], np.int64), samples),
    )


def simulate(folder: Path, shards: int, keys: int) -> None:
    """Sparse shards with side-cars."""
    index = index_of(keys // shards)
    content = sidecar_bytes(index)
    for number in range(shards):
        path = folder / f"{number:06d}.tar"
        with path.open("wb") as file:
            file.truncate(index.size)
        sidecar = folder / f"{number:06d}.tar.idx"
        if number % LINKS:
            sidecar.hardlink_to(folder / f"{number - number % LINKS:06d}.tar.idx")
        else:
            sidecar.write_bytes(content)


def peak_mb(*, reset: bool = False) -> float:
    """MiB resident at the peak since the last reset (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    (found,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found) / 1024


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def start_once(folder: str) -> dict[str, float]:
    """One start, and the first batch from the middle of the third epoch, without its images."""
    before = peak_mb(reset=True)
    seconds, split = timed(lambda: open_labeled(f"{folder}/*.tar", Path(folder) / "cache"))
    plan, order = timed(lambda: Order(split.group_sizes, 0, "labeled"))
    at = order.samples * 5 // 2
    seek, _ = timed(lambda: [split.key(int(number)) for number in order.take(at, at + BATCH)])
    return {"seconds": seconds, "plan_seconds": plan, "seek_seconds": seek, "added_mb": peak_mb() - before}


def start(shards: int, keys: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder), shards, keys)
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            first, again = (pool.apply(start_once, (folder,)) for _ in range(2))
    return {
        "shards": shards,
        "keys": keys,
        "first_seconds": first["seconds"],
        "again_seconds": again["seconds"],
        "plan_seconds": again["plan_seconds"],
        "seek_seconds": again["seek_seconds"],
        "first_added_mb": first["added_mb"],
        "again_added_mb": again["added_mb"],
    }


def rate(samples: Callable[[], Iterable[Any]], rounds: int = 3) -> float:
    """Samples a second of processor time, the best of some rounds."""
    best = 0.0
    for _ in range(rounds):
        start = time.process_time()
        count = sum(1 for _ in samples())
        best = max(best, count / (time.process_time() - start))
    return best


def batches(split: ShardSplit, numbers: np.ndarray[Any, Any]) -> Iterable[Any]:
    for at in range(0, len(numbers), BATCH):
        yield from split.encoded(numbers[at : at + BATCH].tolist())


def read(name: str, size: int, samples: int) -> dict[str, Any]:
    image = np.random.default_rng(0).bytes(size)
    with tempfile.TemporaryDirectory() as folder:
        for shard in range(SHARDS):
            with wds.TarWriter(f"{folder}/{shard:03d}.tar") as writer:
                for number in range(samples // SHARDS):
                    writer.write({"__key__": f"{shard:03d}{number:06d}", "jpg": image, "cls": b"1"})
        split = open_labeled(f"{folder}/*.tar", Path(folder) / "cache")
        urls = sorted(str(path) for path in Path(folder).glob("*.tar"))
        found = {
            "shuffled": rate(lambda: batches(split, Order(split.group_sizes, 0, "labeled").take(0, samples))),
            "in order": rate(lambda: batches(split, np.arange(samples))),
            "webdataset": rate(lambda: wds.WebDataset(urls, shardshuffle=False)),
        }
    return {"images": name, "bytes": size, **found}


def table(found: dict[str, Any]) -> str:
    lines = ["| shards | keys | first start, s | later, s | batch far away, s | memory first / later, MiB |"]
    lines.append("|---:|---:|---:|---:|---:|---:|")
    for row in found["start"]:
        lines.append(
            f"| {row['shards']:,} | {row['keys']:,} | {row['first_seconds']:.2f} | {row['again_seconds']:.2f} | "
            f"{row['seek_seconds']:.3f} | {row['first_added_mb']:.0f} / {row['again_added_mb']:.0f} |"
        )
    lines += ["", "| images | shuffled, samples/s | in order | webdataset | shuffled / webdataset |"]
    lines.append("|---|---:|---:|---:|---:|")
    for row in found["read"]:
        lines.append(
            f"| {row['images']} | {row['shuffled']:,.0f} | {row['in order']:,.0f} | {row['webdataset']:,.0f} | "
            f"{row['shuffled'] / row['webdataset']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true", help="also 100,000 shards with 1e8 keys")
    parser.add_argument("--json", type=Path, help="a file for the results")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # webdataset's advice on workers
    found = {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]},
        "start": [start(*case) for case in (*CASES, *([LARGEST] if options.full else []))],
        "read": [read(name, *sizes) for name, sizes in IMAGES.items()],
    }
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
