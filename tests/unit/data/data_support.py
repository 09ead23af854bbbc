"""Small datasets for the tests of the data folder."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import webdataset as wds
from PIL import Image

from mplframe.contracts.data import Sample, Split

CONTENT = bytes(range(256)) * 2000
"""Of a file that stands for a shard where nobody looks inside."""


def image(number: int, size: tuple[int, int] = (8, 8), channels: int = 3) -> np.ndarray:
    """[H, W, C] noise that is the number's own."""
    return np.random.default_rng(number).integers(0, 256, (*size, channels), dtype=np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, kind, **options)
    return file.getvalue()


def write_shards(folder: Path, counts: Sequence[int], *, labels: bool = True, name: str = "part") -> list[str]:
    """PNG shards written by webdataset itself; sample n has label n % 10 and `image(n)`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths, number = [], 0
    for shard, count in enumerate(counts):
        paths.append(str(folder / f"{name}-{shard:03d}.tar"))
        with wds.TarWriter(paths[-1]) as writer:
            for _ in range(count):
                label = {"cls": str(number % 10).encode()} if labels else {}
                writer.write({"__key__": f"{number:05d}", "png": encoded(image(number)), **label})
                number += 1
    return paths


class ArraySplit(Split):
    """Samples in memory."""

    def __init__(self, images: Sequence[np.ndarray], groups: Sequence[int] | None = None) -> None:
        self.images, self.groups = images, groups or [len(images)]

    @property
    def group_sizes(self) -> Sequence[int]:
        return self.groups

    def read(self, indices: Sequence[int]) -> list[Sample]:
        return [Sample(f"s{i}", self.images[i], i) for i in indices]
