"""How fast samples come: read, decoded, in two views, through the whole loader, from the disk and from S3 on loopback.

    python -m benchmarks.input --json benchmarks/results/input.json

Each step is set beside plain webdataset with torchvision v2 doing the same, and beside the bare JPEG decoder. JPEGs are
two photographs (scikit-learn's samples) of quality 90; 32-pixel ones are padded, shifted and flipped, larger ones go
through the Inception crop to 224. The variants of a case take turns in one process; rates are medians over the rounds,
by wall clock and by CPU time of this process and its workers. S3 is moto in a process of its own, whose time isn't
counted.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import fsspec
import simplejpeg
import torch
import torchvision
import torchvision.transforms.v2 as tv2
import webdataset as wds
from torch.utils.data import DataLoader
from torchvision.io import ImageReadMode, decode_jpeg

import mplframe
from benchmarks.augmentation import jpeg, photographs
from mplframe.augmentation.basic import Crop, Flip
from mplframe.augmentation.randaugment import RandAugment
from mplframe.builders.feed import DataFeed
from mplframe.contracts.data import Augmentation
from mplframe.data.shards.source import WebDataset
from mplframe.data.shards.split import ShardSplit
from mplframe.data.stream import Loader, Stream

SAMPLES = {32: 4_000, 224: 512, 512: 256}
"""Images by their size in pixels."""
SHARDS, BATCH = 8, 64
Job = Callable[[], int]
"""Does one pass and says how many samples it saw."""


def write(folder: Path, size: int) -> list[bytes]:
    """Shards of JPEGs with labels; the files."""
    different = [jpeg(image) for image in photographs(64, size)]
    count = SAMPLES[size]
    for shard in range(SHARDS):
        with wds.TarWriter(str(folder / f"{shard:03d}.tar")) as tar:
            for number in range(shard * count // SHARDS, (shard + 1) * count // SHARDS):
                tar.write({"__key__": f"{number:06d}", "jpg": different[number % 64], "cls": str(number % 10)})
    return [different[number % 64] for number in range(count)]


def split_of(urls: str, cache: Path, **settings: Any) -> ShardSplit:
    config = WebDataset.Config(labeled=urls, classes=10, cache=str(cache), memory_mb=0, **settings)
    split = WebDataset(config).split("labeled")
    assert isinstance(split, ShardSplit)
    return split


def stream(split: ShardSplit, size: int, *, strong: bool) -> Stream:
    target = min(size, 224)
    weak: list[Augmentation] = [Flip()] if size > 32 else [Crop(Crop.Config(padding=4)), Flip()]
    fit = "exact" if size == target == 32 else "random_resized_crop"
    return Stream(
        split,
        name="benchmark",
        seed=0,
        batch=BATCH,
        size=target,
        channels=3,
        fit=fit,  # type: ignore[arg-type]
        weak=weak,
        strong=[*weak, RandAugment()],
        want_strong=strong,
    )


def ours(split: ShardSplit, size: int) -> dict[str, Job]:
    steps = SAMPLES[size] // BATCH
    order = stream(split, size, strong=False)._order

    def read() -> int:
        return sum(len(split.encoded(order.take(i * BATCH, (i + 1) * BATCH).tolist())) for i in range(steps))

    def views(strong: bool) -> int:
        made = stream(split, size, strong=strong)
        return sum(len(made.samples(step)) for step in range(steps))

    def loader(workers: int) -> int:
        made = Loader(stream(split, size, strong=True), None, workers=workers, prefetch=2)
        return sum(len(batch.labeled) for batch in made.batches(0, steps))

    return {
        "read: mplframe, shuffled": read,
        "one view: mplframe": partial(views, False),
        "two views: mplframe": partial(views, True),
        "loader, 1 worker: mplframe": partial(loader, 1),
        "loader, 2 workers: mplframe": partial(loader, 2),
    }


def theirs(urls: list[str], size: int, *, workers: bool) -> dict[str, Job]:
    target = min(size, 224)
    fit = tv2.RandomCrop(32, padding=4) if size == 32 else tv2.RandomResizedCrop(target, antialias=True)
    weak = tv2.Compose([fit, tv2.RandomHorizontalFlip()])
    strong = tv2.Compose([weak, tv2.RandAugment(2, 10)])

    def decoded(data: bytes) -> torch.Tensor:
        return decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)

    def one(sample: dict[str, Any]) -> Any:
        return weak(decoded(sample["jpg"])), int(sample["cls"])

    def two(sample: dict[str, Any]) -> Any:
        image = decoded(sample["jpg"])
        return weak(image), strong(image), int(sample["cls"])

    def source() -> Any:
        return wds.WebDataset(urls, shardshuffle=False, empty_check=False)

    def read() -> int:
        return sum(1 for _ in source())

    def viewed(make: Callable[[dict[str, Any]], Any], count: int | None) -> int:
        batched = source().map(make).batched(BATCH)
        line = batched if count is None else DataLoader(batched, batch_size=None, num_workers=count)
        return sum(len(batch[0]) for batch in line)

    jobs: dict[str, Job] = {
        "read: webdataset, in order": read,
        "one view: webdataset + torchvision": partial(viewed, one, None),
        "two views: webdataset + torchvision": partial(viewed, two, None),
    }
    if workers:
        jobs |= {
            f"loader, {n} worker{'s' * (n > 1)}: webdataset + torchvision": partial(viewed, two, n) for n in (1, 2)
        }
    return jobs


def processor_time() -> float:
    """Seconds of this process, its threads, and the workers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measured(jobs: dict[str, Job], rounds: int) -> list[dict[str, Any]]:
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            wall, cpu = time.perf_counter(), processor_time()
            seen = job()
            wall, cpu = time.perf_counter() - wall, processor_time() - cpu
            if number:  # the first round warms up
                rates[name].append((seen / wall, seen / max(cpu, 1e-9)))
    return [
        {
            "variant": name,
            "samples/s": statistics.median(w for w, _ in found),
            "per CPU s": statistics.median(c for _, c in found),
        }
        for name, found in rates.items()
    ]


@contextmanager
def s3(folder: Path) -> Iterator[dict[str, Any]]:
    """The shards of a folder in a bucket of moto's; gives the storage options."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    options = {
        "key": "k",
        "secret": "s",
        "client_kwargs": {"endpoint_url": f"http://127.0.0.1:{port}"},
    }
    try:
        _wait(port)
        store = fsspec.filesystem("s3", **options)
        store.mkdir("photos")
        for shard in sorted(folder.glob("*.tar")):
            store.put_file(str(shard), f"photos/{shard.name}")
        yield options
    finally:
        server.terminate()
        server.wait(10)


def _wait(port: int) -> None:
    """Until the server answers."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("moto's server doesn't answer")


def open_with(options: dict[str, Any]) -> None:
    """Let webdataset read s3:// through fsspec, which it doesn't by itself."""
    store = fsspec.filesystem("s3", **options)
    wds.gopen_schemes["s3"] = lambda url, *_, **__: io.BytesIO(store.cat_file(url))


def case(size: int, rounds: int) -> list[dict[str, Any]]:
    folder = Path(tempfile.mkdtemp())
    try:
        files = write(folder, size)
        bare: dict[str, Job] = {
            "decode: simplejpeg alone": lambda: len([simplejpeg.decode_jpeg(file) for file in files])
        }
        split = split_of(f"{folder}/*.tar", folder / "cache")
        local = (
            bare | theirs([str(path) for path in sorted(folder.glob("*.tar"))], size, workers=True) | ours(split, size)
        )
        rows = [{"size": size, "store": "disk", **row} for row in measured(local, rounds)]
        with s3(folder) as options:
            open_with(options)
            urls = [f"s3://photos/{shard:03d}.tar" for shard in range(SHARDS)]
            kept = split_of("s3://photos/*.tar", folder / "kept", storage_options=options)
            ranges = split_of("s3://photos/*.tar", folder / "ranges", storage_options=options, cache_mb=0)
            remote = theirs(urls, size, workers=False)
            remote |= {f"{name}, cached": job for name, job in ours(kept, size).items()}
            remote |= {f"{name}, by ranges": job for name, job in islice(ours(ranges, size).items(), 1)}
            rows += [{"size": size, "store": "S3", **row} for row in measured(remote, max(1, rounds // 2))]
        return rows
    finally:
        shutil.rmtree(folder, ignore_errors=True)


WAITS = {"examples/quickstart.yaml": 400, "examples/fashion_mnist.yaml": 120}
"""Steps by example."""


def wait(example: str, steps: int) -> dict[str, Any]:
    """The share of a stage's time in which training waits for its next batch, as the example is."""
    asked: list[float] = []
    given: list[float] = []
    batches = DataFeed.batches

    def timed(self: DataFeed, stage: Any, start: int) -> Iterator[Any]:
        line = batches(self, stage, start)
        for _ in range(steps):
            asked.append(time.perf_counter())
            batch = next(line)
            given.append(time.perf_counter())
            yield batch
        line.close()  # type: ignore[attr-defined]

    short = [f"method.steps={steps}", "baselines=[]", "method.finetune=null", "evaluation.every=0", "trackers=[jsonl]"]
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(DataFeed, "batches", timed):
        mplframe.run(mplframe.load(example, overrides=short), out=folder)
    # The first batches are waited for whatever comes later.
    waited = sum(b - a for a, b in zip(asked[5:], given[5:], strict=True))
    return {"example": example, "steps": steps, "wait": waited / (given[-1] - asked[5])}


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| images | store | what | samples/s | per CPU s |", "|---|---|---|---:|---:|"]
    lines += [
        f"| {row['size']} px | {row['store']} | {row['variant']} | {row['samples/s']:,.0f} | {row['per CPU s']:,.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SAMPLES), choices=list(SAMPLES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="webdataset")
    waits = [wait(example, steps) for example, steps in WAITS.items()]
    for found in waits:
        print(f"{found['example']}: {100 * found['wait']:.2f} % of the time is spent waiting for batches", flush=True)
    rows = []
    for size in arguments.sizes:
        rows += case(size, arguments.rounds)
        print(table(rows[-18:]), flush=True)
    if arguments.json:
        versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "webdataset": wds.__version__}
        settings = {"rounds": arguments.rounds, "machine": platform.machine(), "cores": os.cpu_count(), **versions}
        arguments.json.write_text(json.dumps({**settings, "waits": waits, "results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
