"""Data parallel: every process holds all weights and takes its share of each batch. Started by torchrun."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, Literal, final

import torch
import torch.distributed as dist
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from mplframe.backends.batch_norm import BatchNormOfAll
from mplframe.backends.processes import local_rank, mean_of_all, together
from mplframe.backends.single import LocalConfig, Single
from mplframe.contracts.backend import Backend, T
from mplframe.contracts.batch import Batch, Tensors
from mplframe.errors import UserError


class ProcessesConfig(LocalConfig):
    """How each process computes, and how they work together; `device` is `auto`, `cpu` or `cuda`.

    Attributes:
        sync_batch_norm: normalise by the statistics of the global batch, as one process would; else each process by
            those of its share. Running statistics are the same in all processes either way. With `compile`, each
            synchronised norm ends a compiled graph.
        bucket_mb: gradients that travel in one message, in MiB.
        timeout: seconds that processes wait for each other, also while the first one does alone what only one may do:
            writing a checkpoint, selecting images.
    """

    sync_batch_norm: bool = True
    bucket_mb: PositiveInt = 25
    timeout: PositiveFloat = 1800.0


@final
class DataParallel(Backend):
    """Processes that torchrun started (env://), on one machine or many; gloo between CPUs, NCCL between GPUs.

    Gradients are averaged here rather than by torch's DistributedDataParallel. A step of MPL takes several gradients of
    one network, some of them after forwards that DDP's hooks don't see, and has to have each as a whole before it goes
    on; so they travel in buckets when a backward is over, not beside it.

    All processes do the same in the same order. Where one of them fails the others end too, within `timeout`.

    Raises:
        UserError: torchrun didn't start this process, or there are fewer GPUs than processes.
        RunError: the other processes didn't come.
    """

    class Config(ProcessesConfig):
        """Settings."""

        name: Literal["ddp"] = "ddp"

    def __init__(self, config: ProcessesConfig | None = None) -> None:
        self.config = config or self.Config()
        own = self.config.model_dump(include=set(LocalConfig.model_fields) - {"name", "device"})
        device = _device(self.config.device, local_rank(self.config.name), self.config.name)
        self._local = Single(Single.Config(device=device, **own))
        self.device = self._local.device
        with together():
            _join(self.device, timedelta(seconds=self.config.timeout))
        self.rank, self.world = dist.get_rank(), dist.get_world_size()

    def prepare(self, module: nn.Module) -> nn.Module:
        module = self._local.prepare(module)
        for tensor in (*module.parameters(), *module.buffers()):
            first = tensor.detach().contiguous()
            with together():
                dist.broadcast(first, 0)
            tensor.detach().copy_(first)
        return module

    def place(self, batch: Batch) -> Batch:
        return self._local.place(batch)

    def autocast(self) -> AbstractContextManager[None]:
        return self._forward() if self.world > 1 else self._local.autocast()

    def reduce(self, gradients: Tensors) -> Tensors:
        return mean_of_all(gradients, bucket_bytes=self.config.bucket_mb << 20)

    def inner(self, a: Tensors, b: Tensors) -> Tensor:
        return self._local.inner(a, b)

    def fetch(self, scalars: Sequence[Tensor]) -> list[float]:
        # What lies on the host while training is on a GPU, such as a learning rate, is the same in all processes.
        far = [scalar.double() for scalar in scalars if scalar.device == self.device]
        means = iter(self.reduce((torch.stack(far),))[0] if far else ())
        return self._local.fetch([next(means) if scalar.device == self.device else scalar for scalar in scalars])

    def mark_step(self) -> None:
        return None

    def gather(self, value: T) -> list[T]:
        found: list[Any] = [None] * self.world
        with together():
            dist.all_gather_object(found, value)
        return found

    def any(self, flag: bool) -> bool:
        raised = torch.tensor(int(flag))
        with together():
            dist.all_reduce(raised, dist.ReduceOp.MAX)
        return bool(raised)

    def guarded(self) -> AbstractContextManager[None]:
        return together()

    def describe(self) -> dict[str, str]:
        return {**self._local.describe(), "communication": "nccl" if self.device.type == "cuda" else "gloo"}

    @contextmanager
    def _forward(self) -> Iterator[None]:
        with self._local.autocast(), BatchNormOfAll(self.reduce, normalise=self.config.sync_batch_norm):
            yield


def _device(asked: str, number: int, asked_by: str) -> str:
    """This process's own device.

    Raises:
        UserError: another one was asked for than `auto`, `cpu` or `cuda`, or there are too few GPUs.
    """
    if asked not in ("auto", "cpu", "cuda"):
        raise UserError(
            f"backend.device: {asked!r} given, but each process of {asked_by} takes its own; give auto, cpu or cuda"
        )
    gpus = torch.cuda.device_count()
    if asked == "cpu" or (asked == "auto" and not gpus):
        return "cpu"
    if number >= gpus:
        raise UserError(
            f"process {number} of this machine has no GPU: torch {torch.__version__} sees {gpus}; start at most that "
            "many (torchrun --nproc-per-node), or set backend.device=cpu"
        )
    return f"cuda:{number}"


def _join(device: torch.device, timeout: timedelta) -> None:
    """Meet the others, once for the life of the process: torchrun's store takes no second meeting."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        # What lies on the host goes over gloo, whatever training runs on.
        how = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        dist.init_process_group(how, timeout=timeout, device_id=device if on_gpu else None)
        atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
