"""Fashion-MNIST's four files, small: the layout is the point, not the clothes."""

import gzip
import struct
from pathlib import Path

import numpy as np


def write_fashion(folder: Path, *, train: int, test: int) -> None:
    """Write `train` and `test` images of 28 x 28 noise, with the ten classes in turn."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("t10k", test)):
        pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        _write(folder / f"{split}-images-idx3-ubyte.gz", struct.pack(">4I", 0x803, count, 28, 28), pixels)
        _write(folder / f"{split}-labels-idx1-ubyte.gz", struct.pack(">2I", 0x801, count), labels)


def _write(path: Path, header: bytes, values: np.ndarray) -> None:
    with gzip.open(path, "wb") as file:
        file.write(header + values.tobytes())
