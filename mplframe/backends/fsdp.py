"""Fully sharded data parallel: every process holds a share of each weight. Started by torchrun."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, final

import torch
import torch.distributed as dist
from pydantic import NonNegativeInt
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy
from torch.distributed.tensor import DTensor, Shard, empty

from mplframe.backends.ddp import DataParallel, ProcessesConfig
from mplframe.backends.processes import together
from mplframe.backends.recomputed import recompute_blocks
from mplframe.backends.sharding import Sharding, is_cut, laid_out_like, local, whole
from mplframe.backends.single import inner
from mplframe.contracts.backend import Backend, T
from mplframe.contracts.batch import Batch, Tensors, mapped


@final
class FullyShardedDataParallel(Backend):
    """torch's `fully_shard` over the processes that torchrun started: weights, their averages, gradients and the
    optimizer's state are cut along their first dimension; a block's weights are gathered where it runs.

    Tensors of at most one dimension, norms and biases, stay whole in every process: they are few, and keep float32
    where weights travel as bfloat16. All else is as in `ddp`.

    Gradients of shards come out of a backward already averaged, so `reduce` leaves them alone.

    Raises:
        UserError: torchrun didn't start this process, or there are fewer GPUs than processes.
        RunError: the other processes didn't come.
    """

    class Config(ProcessesConfig):
        """Settings; those of `ddp` beside them.

        Attributes:
            unit_parameters: a block of the network, which is a module inside an `nn.Sequential` or `nn.ModuleList`, is
                gathered by itself if it has at least so many parameters; the rest of the network is gathered at once.
            reshard: give a block's weights back after its forward and gather them anew for its backward; without,
                they stay whole in between.
            reduce_precision: in which gradients of shards are averaged; weights travel in `precision`.
            offload: keep shards and the optimizer's state on the host, and step there.
            recompute: keep only what goes into each block in a forward, and run it again in the backward.
        """

        name: Literal["fsdp"] = "fsdp"
        unit_parameters: NonNegativeInt = 100_000
        reshard: bool = True
        reduce_precision: Literal["fp32", "bf16"] = "fp32"
        offload: bool = False
        recompute: bool = False

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self._processes = DataParallel(self.config)
        self.device = self._processes.device
        self.rank, self.world = self._processes.rank, self._processes.world
        with together():
            self._mesh = init_device_mesh(self.device.type, (self.world,))
        self._sharding = Sharding(
            self._mesh,
            unit_parameters=self.config.unit_parameters,
            reshard=self.config.reshard,
            precision=MixedPrecisionPolicy(
                param_dtype=torch.bfloat16 if self.config.precision == "bf16" else None,
                reduce_dtype=torch.float32 if self.config.reduce_precision == "fp32" else torch.bfloat16,
                # Autocast has cast what needs it.
                cast_forward_inputs=False,
            ),
            offload=CPUOffloadPolicy(pin_memory=self.device.type == "cuda") if self.config.offload else OffloadPolicy(),
        )

    def prepare(self, module: nn.Module) -> nn.Module:
        # `fully_shard` takes contiguous weights only; with `channels_last`, maps have that format all the same.
        contiguous = self._processes.prepare(module).to(memory_format=torch.contiguous_format)
        module = self._sharding(contiguous)
        if self.config.recompute:
            recompute_blocks(module, self.autocast)
        return module

    def place(self, batch: Batch) -> Batch:
        return self._processes.place(batch)

    def autocast(self) -> AbstractContextManager[None]:
        return self._processes.autocast()

    def settle(self, modules: Sequence[nn.Module], optimizer: torch.optim.Optimizer) -> None:
        """Cut what has been loaded of the optimizer's state like its parameter."""
        for parameter, state in optimizer.state.items():
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[name] = laid_out_like(parameter, value)

    def reduce(self, gradients: Tensors) -> Tensors:
        means = iter(self._processes.reduce(tuple(g for g in gradients if not isinstance(g, DTensor))))
        return tuple(g if isinstance(g, DTensor) else next(means) for g in gradients)

    def inner(self, a: Tensors, b: Tensors) -> Tensor:
        pairs = list(zip(a, b, strict=True))
        shards = [(local(x), local(y)) for x, y in pairs if isinstance(x, DTensor)]
        wholes = [(x, y) for x, y in pairs if not isinstance(x, DTensor)]
        parts = [inner(*map(tuple, zip(*some, strict=True))).to(self.device) for some in (shards, wholes) if some]
        if shards:
            with together():
                dist.all_reduce(parts[0])
        return torch.stack(parts).sum()

    def fetch(self, scalars: Sequence[Tensor]) -> list[float]:
        return self._processes.fetch(scalars)

    def mark_step(self) -> None:
        return None

    def host(self, state: Any) -> Any:
        return mapped(state, lambda _, tensor: whole(tensor, self.device).cpu() if is_cut(tensor) else tensor)

    def room(self, shape: Sequence[int], *, dtype: torch.dtype) -> Tensor:
        return empty(*shape, dtype=dtype, device_mesh=self._mesh, placements=[Shard(0)])

    def gathered(self, tensors: Tensors) -> Tensors:
        return tuple(whole(tensor, self.device) for tensor in tensors)

    @contextmanager
    def alone(self, module: nn.Module) -> Iterator[None]:
        units = [each for each in module.modules() if isinstance(each, FSDPModule)]
        for unit in units:
            unit.set_reshard_after_forward(False, recurse=False)
            unit.unshard()
        try:
            yield
        finally:
            for unit in units:
                unit.set_reshard_after_forward(self.config.reshard, recurse=False)
                unit.reshard()

    def gather(self, value: T) -> list[T]:
        return self._processes.gather(value)

    def any(self, flag: bool) -> bool:
        return self._processes.any(flag)

    def guarded(self) -> AbstractContextManager[None]:
        return self._processes.guarded()

    def describe(self) -> dict[str, str]:
        return self._processes.describe()
