"""One way to key random numbers, and the state of torch's global generator.

Every use has a key, such as (seed, "dropout", "student", step, micro-batch). A run resumed at any step draws what an
undisturbed run draws, a forward can be repeated exactly, and a measurement takes nothing from the training's stream.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

import numpy as np
import torch

Key = int | str


def derive(*key: Key) -> int:
    """A 63-bit seed for a key."""
    text = "/".join(quote(str(part), safe="") for part in key)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@contextmanager
def seeded(*key: Key) -> Iterator[None]:
    """Within it torch's generator of the host is seeded by `key`; afterwards it is where it was.

    Forwards on a device draw within `Backend.seeded` instead.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(*key))
        yield


def gumbel(shape: tuple[int, ...], *key: Key, share: tuple[int, int] = (0, 1)) -> torch.Tensor:
    """Standard Gumbel noise, float32, drawn on the host so that it is the same whatever the device.

    Args:
        shape: of this process's rows.
        key: what it is for.
        share: number of this process, and of all: what is drawn for the rows of all of them is cut like the rows, so
            that it doesn't depend on how many there are.
    """
    (rank, world), rows = share, shape[0]
    generator = torch.Generator().manual_seed(derive(*key))
    exponential = torch.empty(rows * world, *shape[1:]).exponential_(generator=generator)
    mine = exponential[rank * rows : (rank + 1) * rows]
    return -mine.clamp_min(torch.finfo(torch.float32).tiny).log()


def seed_rng(seed: int) -> None:
    """Seed all of them, so that components which use them are as reproducible as the rest."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def rng_state() -> dict[str, Any]:
    """Of Python, NumPy, torch and every CUDA device, as tensors and plain values."""
    version, internal, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(internal), gauss],
        "numpy": [torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Take back what `rng_state` gave; CUDA's only where there are as many devices."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
