"""Shards to serve, and what an epoch over them is."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import webdataset as wds
from PIL import Image

from mplframe.contracts.data import Sample, Split
from mplframe.data.shards.source import WebDataset
from mplframe.data.stream import Order
from mplframe.io.threads import ordered

from .servers import Address

Epoch = list[tuple[str, int, bytes]]
"""Key, label and pixels of each sample in order."""

Reader = Literal["auto", "indexed", "sequential"]
READERS: tuple[Reader, ...] = ("indexed", "sequential")
SHARDS = (40, 25, 33)
"""Samples of each shard."""

CLASSES = 10
BATCH = 14
URLS = "train-{000..002}.tar"


def png(number: int, size: int = 32) -> bytes:
    """An image of noise that is the number's own; about 3 kB at 32 pixels."""
    pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_shards(folder: Path, counts: Sequence[int], name: str, *, size: int = 32, first: int = 0) -> None:
    """`NAME-000.tar` and so on; samples are numbered through them from `first`; sample n is of class n % `CLASSES`."""
    folder.mkdir(exist_ok=True)
    numbers = itertools.count(first)
    for shard, count in enumerate(counts):
        with wds.TarWriter(str(folder / f"{name}-{shard:03d}.tar"), mtime=0) as writer:
            for number in itertools.islice(numbers, count):
                writer.write({"__key__": f"{number:05d}", "png": png(number, size), "cls": str(number % CLASSES)})


def training_split(address: Address, reader: Reader, cache: Path, **config: Any) -> Split:
    """The shards at an address as a split that keeps no decoded samples."""
    options = {
        "labeled": f"{address.url}/{URLS}",
        "classes": CLASSES,
        "storage_options": address.options,
        "cache": str(cache),
        "memory_mb": 0,
        "reader": reader,
        **config,
    }
    split = WebDataset(WebDataset.Config(**options)).split("labeled")
    assert split is not None
    return split


def epochs(split: Split) -> Epoch:
    """All samples of an epoch in training order, read by two threads."""
    line = Order(split.group_sizes, 5, "stores").take(0, len(split))

    def read(start: int) -> list[Sample]:
        return split.read(line[start : start + BATCH].tolist())

    batches = ordered(read, range(0, len(line), BATCH), workers=2, prefetch=2)
    return [(sample.key, sample.label, sample.image.tobytes()) for batch in batches for sample in batch]


def assert_same(found: Epoch, expected: Epoch) -> None:
    """Nothing lost, nothing repeated, the same order, labels and pixels."""
    assert [key for key, _, _ in found] == [key for key, _, _ in expected]
    assert found == expected
