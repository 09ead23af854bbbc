"""XLA SPMD: one program over a mesh of devices, which share images, activations and weights. Run with torch_xla."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import Any, Literal, final

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from mplframe.backends.xla.optimizer_state import make_state
from mplframe.backends.xla.rules import Spec, WidthSharding
from mplframe.backends.xla.runtime import start, unavailable
from mplframe.config.base import ComponentConfig
from mplframe.contracts.backend import Backend, Sharding, T
from mplframe.contracts.batch import Batch, Tensors, mapped

NUDGE = 2.0**-22
"""Two to four times the distance between neighbours in float32, relative to a number."""


@final
class XlaSpmd(Backend):
    """All devices as one, by torch_xla's SPMD: what MPL v4, section 4 calls model parallelism.

    The mesh has two axes, `data` and `model`. Samples are split over replicas; inside one, images and activations are
    split along their width, and each weight, with its optimizer's state, along its largest dimension that divides.
    Numbers are those of the global batch: there is one process, as far as the program can see, whose step is one graph.

    On several hosts the same program is started on each, as torch_xla wants it. Each reads the whole batch and keeps
    what its devices need; the first one writes. That has not been run.

    Raises:
        UserError: torch_xla isn't there or of another version, or the mesh doesn't take all devices.
    """

    class Config(ComponentConfig):
        """The mesh and the precision.

        Attributes:
            data: replicas; null for as many as the devices make.
            model: devices of a replica. 16 in the paper.
            precision: of forwards; parameters and optimizers stay in float32.
        """

        name: Literal["xla_spmd"] = "xla_spmd"
        data: PositiveInt | None = None
        model: PositiveInt = 16
        precision: Literal["fp32", "bf16"] = "fp32"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self._rules = WidthSharding(self.config.model)
        self._runtime = start(data=self.config.data, model=self.config.model)
        self.device = self._runtime.device

        # These load torch_xla.
        import torch_xla
        from torch_xla.core import xla_model
        from torch_xla.distributed import spmd

        from mplframe.backends.xla import runtime as processes
        from mplframe.backends.xla.operators import register
        from mplframe.backends.xla.surgery import put_together, shard_forwards

        register()
        self._xla, self._model, self._spmd = torch_xla, xla_model, spmd
        self._shard_forwards, self._put_together = shard_forwards, put_together
        self._gather = processes.joined() if self._runtime.processes > 1 else None

    @classmethod
    def unavailable(cls) -> str | None:
        return unavailable()

    @classmethod
    def sharding(cls, config: Any) -> Sharding:
        return WidthSharding(config.model)

    @property
    def main(self) -> bool:
        return self._runtime.rank == 0

    def prepare(self, module: nn.Module) -> nn.Module:
        module = module.to(self.device)
        self._mark_weights(chain(module.parameters(), module.buffers()))
        self._shard_forwards(module, self._runtime.mesh, self._rules)
        return module

    def settle(self, modules: Sequence[nn.Module], optimizer: torch.optim.Optimizer) -> None:
        make_state(optimizer)
        for module in modules:
            self._mark_weights(chain(module.parameters(), module.buffers()))
        self._mark_weights(value for state in optimizer.state.values() for value in state.values())
        self._xla.sync()

    def place(self, batch: Batch) -> Batch:
        return batch.map(self._placed)

    def autocast(self) -> AbstractContextManager[None]:
        if self.config.precision == "fp32":
            return nullcontext()
        return torch.autocast("xla", dtype=torch.bfloat16)

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        # A seed is an input of the graph: each step has its own, and none is compiled for it.
        before = self._model.get_rng_state()
        self._model.set_rng_state(seed)
        try:
            with super().seeded(seed):
                yield
        finally:
            self._model.set_rng_state(before)

    def rate(self, lr: float) -> float:
        # Equal numbers are one input of the graph: a rate that is equal to another number in one step and not in the
        # next would be another graph. No other number is likely to end in these bits.
        return lr * (1.0 + NUDGE) if lr else NUDGE**3

    def reduce(self, gradients: Tensors) -> Tensors:
        return gradients

    def inner(self, a: Tensors, b: Tensors) -> Tensor:
        # No reshaping: it would bring the parts of a tensor together.
        wide = torch.float64 if a and a[0].dtype == torch.float64 else torch.float32
        return torch.stack([(x.to(wide) * y.to(wide)).sum() for x, y in zip(a, b, strict=True)]).sum()

    def fetch(self, scalars: Sequence[Tensor]) -> list[float]:
        # In one transfer; of what lies on the host already, nothing is moved.
        fetched: list[Tensor] = self._model._maybe_convert_to_cpu([scalar.detach() for scalar in scalars])
        return [float(scalar) for scalar in fetched]

    def mark_step(self) -> None:
        self._xla.sync()

    def host(self, state: Any) -> Any:
        self._xla.sync(wait=True)
        self._model.wait_device_ops()
        return mapped(state, self._fetched)

    def gather(self, value: T) -> list[T]:
        return [value] if self._gather is None else self._gather(value)

    def any(self, flag: bool) -> bool:
        return any(self.gather(flag))

    def describe(self) -> dict[str, str]:
        data, model = self._runtime.mesh.mesh_shape
        return {
            "device": str(self.device),
            "hardware": f"{data * model} x {self._runtime.kind}",
            "mesh": f"{data} x {model} (data x model)",
            "precision": self.config.precision,
            "torch_xla": self._xla.__version__,
        }

    def _fetched(self, _: str, tensor: Tensor) -> Tensor:
        if tensor.device != self.device:
            return tensor
        return self._put_together(tensor.detach()) if self._gather is None else tensor.detach().cpu()

    def _placed(self, tensor: Tensor) -> Tensor:
        self._rules.check_activation(tensor.shape, layer="the input")
        return self._marked(tensor.to(self.device), self._rules.activation(tensor.shape))

    def _mark_weights(self, tensors: Iterator[Any]) -> None:
        for tensor in tensors:
            if isinstance(tensor, Tensor) and tensor.device == self.device:
                self._marked(tensor.detach(), self._rules.weight(tensor.shape))

    def _marked(self, tensor: Tensor, spec: Spec) -> Tensor:
        self._spmd.mark_sharding(tensor, self._runtime.mesh, spec)
        return tensor
