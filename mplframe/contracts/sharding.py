"""How a backend cuts tensors over devices, as rules that need no device: what `mplframe plan` asks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence


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
