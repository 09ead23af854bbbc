"""Where tensors live and how gradients of several processes become one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Batch, Tensors


class Backend(ABC):
    """One way to run: devices, precision and communication. The engine and the methods never name a device.

    Attributes:
        device: where parameters and batches live.
        rank: of this process, from 0.
        world: number of processes.
    """

    Config: type[ComponentConfig]
    device: torch.device
    rank: int = 0
    world: int = 1

    @abstractmethod
    def prepare(self, module: nn.Module) -> nn.Module:
        """Bring a freshly built network to the device; may wrap its compilation, never its parameter names."""

    @abstractmethod
    def place(self, batch: Batch) -> Batch:
        """Bring a batch from the host to the device, without waiting for it."""

    @abstractmethod
    def autocast(self) -> AbstractContextManager[None]:
        """The precision that forwards run in."""

    @abstractmethod
    def reduce(self, gradients: Tensors) -> Tensors:
        """The mean of each gradient over all processes."""

    @abstractmethod
    def inner(self, a: Tensors, b: Tensors) -> Tensor:
        """[] float32 `<a, b>` over all tensors and over all shards of them."""

    @abstractmethod
    def fetch(self, scalars: Sequence[Tensor]) -> list[float]:
        """The values of 0-d tensors, averaged over processes, in one transfer. The only host sync there is."""

    @abstractmethod
    def mark_step(self) -> None:
        """The step is complete: lazy backends run it now."""

    def close(self) -> None:
        """Give back what the backend holds."""
        return

    def describe(self) -> dict[str, str]:
        """What it runs on, for the manifest."""
        return {"device": str(self.device)}
