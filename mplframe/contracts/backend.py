"""Where networks live and how processes share the work; how weights are split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Batch, Tensors
from mplframe.errors import MplframeError


class Sharding(ABC):
    """Into how many equal parts tensors are cut, each device holding one."""

    @abstractmethod
    def weight_parts(self, shape: Sequence[int]) -> int:
        """Of a parameter, a buffer, or a part of an optimizer's state of its shape; 1 where each device holds all."""

    @abstractmethod
    def activation_parts(self, shape: Sequence[int]) -> int:
        """Of one sample's images, or of what a layer gives or keeps for them; [N, C, ...]."""

    @abstractmethod
    def check_activation(self, shape: Sequence[int], *, layer: str) -> None:
        """See that what a layer gives can be cut as `activation_parts` says.

        Args:
            shape: [N, C, ...].
            layer: what the error calls it.

        Raises:
            UserError: its parts wouldn't be equal.
        """


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

    @classmethod
    def unavailable(cls) -> str | None:
        """Why this backend can't run in this environment, and what to install; None where it can. Starts nothing."""
        return None

    @classmethod
    def sharding(cls, config: Any) -> Sharding | None:
        """How tensors would be cut over devices by a backend of this `Config`; None where each device holds all."""
        return None

    @abstractmethod
    def prepare(self, module: nn.Module) -> nn.Module:
        """Bring a freshly built network to the device; may wrap its compilation, never its parameter names.

        What it gives can be deep-copied, and takes whole tensors in `load_state_dict`.
        """

    @abstractmethod
    def place(self, batch: Batch) -> Batch:
        """Bring a batch from the host to the device, without waiting for it."""

    @abstractmethod
    def autocast(self) -> AbstractContextManager[None]:
        """What forwards run in: the precision, and batch norms that know of the other processes."""

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """A block in which forwards draw their random numbers from `seed`; afterwards generators are where they were.

        What is drawn from one seed differs between kinds of devices.
        """
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield

    def settle(self, modules: Sequence[nn.Module], optimizer: torch.optim.Optimizer) -> None:
        """Bring networks and their optimizer's state to where training keeps them.

        Called when a learner has been made and whenever its state has been loaded. What `prepare` has done to a
        network's tensors needn't have survived copying and loading.
        """
        return

    def rate(self, lr: float) -> float:
        """The learning rate to step with: this one, or its neighbour where a program would be compiled for it alone."""
        return lr

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
        """The step, or a forward by itself, is complete: lazy backends run it now."""

    def host(self, state: Any) -> Any:
        """The same nested state with whole tensors of torch's own, such as go into a file that every backend reads."""
        return state

    def room(self, shape: Sequence[int], *, dtype: torch.dtype) -> Tensor:
        """An empty tensor to read one of a checkpoint into: this process's shard of it, or all."""
        return torch.empty(shape, dtype=dtype)

    def gathered(self, tensors: Tensors) -> Tensors:
        """Each tensor whole, where processes hold shards of it."""
        return tensors

    @contextmanager
    def alone(self, module: nn.Module) -> Iterator[None]:
        """A block in which forwards of a prepared network, without gradients, wait for no other process.

        Each may make as many as it likes; all of them enter and leave together.
        """
        yield

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """What each process gives, by rank, on the host; waits for all of them."""
        return [value]

    def any(self, flag: bool) -> bool:
        """Whether the flag of any process is raised. Cheap enough for every step."""
        return flag

    def guarded(self) -> AbstractContextManager[None]:
        """What a run happens in.

        Raises:
            RunError: where something in the block fails because another process has ended.
        """
        return nullcontext()

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
