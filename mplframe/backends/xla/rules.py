"""Which dimension of a tensor is split over which axis of the mesh: pure rules, applied by the backend and by plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from mplframe.contracts.backend import Sharding
from mplframe.errors import UserError

DATA, MODEL = "data", "model"
"""Axes of the mesh: replicas, and the devices that share one."""

Spec = tuple[str | None, ...]
"""The axis that each dimension is split over; None for a dimension that stays whole."""


@final
@dataclass(frozen=True)
class WidthSharding(Sharding):
    """Images and activations along their width, each weight along its largest dimension that can be divided (MPL v4,
    section 4, "Model parallelism").

    Attributes:
        model: devices that share a replica, at least 1.
    """

    model: int

    def weight(self, shape: Sequence[int]) -> Spec:
        """Of a parameter, a buffer, or a part of an optimizer's state of its shape; whole where nothing divides."""
        largest = max((size for size in shape if size % self.model == 0), default=0)
        at = list(shape).index(largest) if largest and self.model > 1 else None
        return tuple(MODEL if dim == at else None for dim in range(len(shape)))

    def activation(self, shape: Sequence[int]) -> Spec:
        """Of images or a layer's output, [N, C, ...]: samples over replicas, and the width of maps, the last of two or
        more dimensions after the channels."""
        last = MODEL if self.activation_parts(shape) > 1 else None
        return (DATA, *(None,) * (len(shape) - 2), last)[: len(shape)]

    def weight_parts(self, shape: Sequence[int]) -> int:
        return self.model if MODEL in self.weight(shape) else 1

    def activation_parts(self, shape: Sequence[int]) -> int:
        # A map of fewer columns than devices is small: all of them hold it whole.
        return self.model if len(shape) >= 4 and shape[-1] >= self.model else 1

    def check_activation(self, shape: Sequence[int], *, layer: str) -> None:
        if shape[-1] % self.activation_parts(shape):
            raise UserError(
                f"backend.model: {layer} has a width of {shape[-1]}, which isn't a multiple of {self.model}; choose "
                f"input.size so that the width of every layer is one (or less than {self.model}), or another "
                "backend.model"
            )
