"""Where tensors live and how gradients of several processes become one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Batch, Tensors
from mplframe.errors import MplframeError

T = TypeVar("T")


class Backend(ABC):
    """One way to run: devices, precision and communication. The engine and the methods never name a device.

    Where there are several processes, each runs the whole program on its share of every batch, and all of them call
    what communicates (`prepare`, `reduce`, `fetch`, `gather` and what is made of it) equally often and in one order.
    The main process alone writes into the run folder.

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
        """What forwards run in: the precision, and batch norms that know of the other processes."""

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

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """What each process gives, by rank, on the host; waits for all of them."""
        return [value]

    def barrier(self) -> None:
        """Wait until every process is here."""
        self.gather(None)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """A block that the main process goes through before the others do. Nothing in it may communicate.

        Raises:
            MplframeError: in every process, what the main one raised.
        """
        well: MplframeError | None = None
        if not self.main and (failed := self.gather(well)[0]) is not None:
            raise failed
        try:
            yield
        except MplframeError as error:
            if self.main:
                self.gather(error)
            raise
        if self.main:
            self.gather(well)

    def on_main(self, work: Callable[[], T]) -> T:
        """Do something in the main process alone; every process gets what it gives, or raises what it raises."""
        found: list[T] = []
        with self.main_first():
            if self.main:
                found.append(work())
        return self.gather(found)[0][0]

    def close(self) -> None:
        """Give back what the backend holds."""
        return

    def describe(self) -> dict[str, str]:
        """What it runs on, for the manifest."""
        return {"device": str(self.device)}
