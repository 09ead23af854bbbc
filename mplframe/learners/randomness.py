"""Random numbers that depend on what they are for, not on what was drawn before.

Every use has a key, such as (seed, "dropout", "student", step, micro-batch). A run resumed at any step draws what an
undisturbed run draws, a forward can be repeated exactly, and a measurement takes nothing from the training's stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from urllib.parse import quote

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
