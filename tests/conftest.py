"""Fixtures of several folders."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What torchrun tells a process that it starts alone."""
    import torch.distributed as dist

    from mplframe.backends.processes import NEEDED

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in zip(NEEDED, (0, 1, 0, "127.0.0.1", port), strict=True):
        monkeypatch.setenv(name, str(value))
    yield
    if dist.is_initialized():
        dist.destroy_process_group()
