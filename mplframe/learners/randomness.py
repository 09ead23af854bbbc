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
def seeded(device: torch.device, *key: Key) -> Iterator[None]:
    """Within it torch's generators are seeded by `key`; afterwards they are where they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive(*key))
        yield


def gumbel(shape: tuple[int, ...], *key: Key) -> torch.Tensor:
    """Standard Gumbel noise, float32, drawn on the host so that it is the same whatever the device."""
    generator = torch.Generator().manual_seed(derive(*key))
    exponential = torch.empty(shape).exponential_(generator=generator)
    return -exponential.clamp_min(torch.finfo(torch.float32).tiny).log()
