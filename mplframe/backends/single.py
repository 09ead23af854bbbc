"""One process, one device: the CPU or a GPU."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, final

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Batch, Tensors
from mplframe.errors import UserError


def inner(a: Tensors, b: Tensors) -> Tensor:
    """[] `<a, b>` over all tensors, in float32 or wider."""
    wide = torch.float64 if a and a[0].dtype == torch.float64 else torch.float32
    products = [torch.dot(x.reshape(-1).to(wide), y.reshape(-1).to(wide)) for x, y in zip(a, b, strict=True)]
    return torch.stack(products).sum()


class LocalConfig(ComponentConfig):
    """How one process computes.

    Attributes:
        device: `auto` takes the GPU if there is one; or `cpu`, `cuda`, `cuda:1`.
        precision: of forwards; parameters and optimizers stay in float32.
        channels_last: memory format of convolutions, faster on GPUs and often on CPUs.
        compile: whether networks go through `torch.compile`.
        threads: CPU threads for torch's own parallelism; None leaves torch's choice.
        deterministic: demand deterministic algorithms of torch on CUDA as well.
    """

    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = False
    compile: bool = False
    threads: PositiveInt | None = None
    deterministic: bool = False


@final
class Single(Backend):
    """Everything in this process."""

    class Config(LocalConfig):
        """How it computes."""

        name: Literal["single"] = "single"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.device = _device(self.config.device)
        if self.config.threads is not None:
            torch.set_num_threads(self.config.threads)
        if self.config.deterministic:
            torch.use_deterministic_algorithms(True)

    def prepare(self, module: nn.Module) -> nn.Module:
        module = module.to(self.device)
        if self.config.channels_last:
            module = module.to(memory_format=torch.channels_last)
        if self.config.compile:
            module.compile()
        return module

    def place(self, batch: Batch) -> Batch:
        return batch.map(self._to_device)

    def autocast(self) -> AbstractContextManager[None]:
        if self.config.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def reduce(self, gradients: Tensors) -> Tensors:
        return gradients

    def inner(self, a: Tensors, b: Tensors) -> Tensor:
        return inner(a, b)

    def fetch(self, scalars: Sequence[Tensor]) -> list[float]:
        # Those already on the host (learning rates) needn't make the trip.
        far = [s for s in scalars if s.device == self.device]
        fetched = iter(torch.stack([s.double() for s in far]).tolist() if far else [])
        return [next(fetched) if s.device == self.device else s.item() for s in scalars]

    def mark_step(self) -> None:
        return None

    def describe(self) -> dict[str, str]:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        return {"device": str(self.device), "hardware": name, "precision": self.config.precision}

    def _to_device(self, tensor: Tensor) -> Tensor:
        moved = tensor.to(self.device, non_blocking=True)
        if moved.ndim != 4:
            return moved
        if self.config.channels_last:
            return moved.contiguous(memory_format=torch.channels_last)
        # A grey batch with the strides of channels_last counts as contiguous, but convolutions round otherwise for it.
        return moved.flatten().view(moved.shape)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    found = re.fullmatch(r"cuda(?::(\d+))?", name, re.ASCII)
    if found is None:
        raise UserError(f"backend.device: {name!r} is no device to train on; give auto, cpu, cuda or cuda:N")
    index = int(found[1] or 0)
    if index >= torch.cuda.device_count():
        raise UserError(
            f"backend.device: {name!r} was asked for, but torch {torch.__version__} sees {torch.cuda.device_count()} "
            "CUDA devices; set backend.device=auto or cpu"
        )
    # With its index, so that it compares equal to the device of the tensors on it.
    return torch.device("cuda", index)
