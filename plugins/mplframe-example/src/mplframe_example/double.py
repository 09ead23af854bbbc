"""One process on the CPU in float64: what remains of a difference there isn't rounding."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, final

import torch
from mplframe.config.base import ComponentConfig
from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Batch, Tensors
from torch import Tensor, nn


def inner(a: Tensors, b: Tensors) -> Tensor:
    """[] float64 `<a, b>` over all tensors."""
    products = [torch.dot(x.flatten().double(), y.flatten().double()) for x, y in zip(a, b, strict=True)]
    return torch.stack(products).sum()


def widened(tensor: Tensor) -> Tensor:
    """Floats as float64; pixels and labels as they are."""
    return tensor.double() if tensor.is_floating_point() else tensor


@final
class Double(Backend):
    """Weights, gradients and forwards in float64, to tell a wrong formula from a rounded one."""

    class Config(ComponentConfig):
        """No settings."""

        name: Literal["double"] = "double"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self.device = torch.device("cpu")

    def prepare(self, module: nn.Module) -> nn.Module:
        return module.to(self.device, torch.float64)

    def place(self, batch: Batch) -> Batch:
        return batch.map(widened)

    def autocast(self) -> AbstractContextManager[None]:
        return nullcontext()

    def reduce(self, gradients: Tensors) -> Tensors:
        return gradients

    def inner(self, a: Tensors, b: Tensors) -> Tensor:
        return inner(a, b)

    def fetch(self, scalars: Sequence[Tensor]) -> list[float]:
        values: list[float] = torch.stack([scalar.double() for scalar in scalars]).tolist() if scalars else []
        return values

    def mark_step(self) -> None:
        return None

    def describe(self) -> dict[str, str]:
        return {"device": "cpu", "precision": "fp64"}
