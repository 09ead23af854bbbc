"""The moving average of a network's weights."""

from __future__ import annotations

from copy import deepcopy
from typing import final

import torch
from torch import Tensor, nn


@final
class Average:
    """A copy of a network whose weights and batch statistics follow it: `a += (1 - decay) (w - a)`; what is counted in
    whole numbers is copied.

    timm's `ModelEmaV3` does the same, but makes a random generator on the device, which not every device has.

    Args:
        module: what is followed; on its device.
        decay: what is kept of the average in an update.

    Attributes:
        module: the copy, in evaluation mode.
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.module = deepcopy(module).eval()
        self._share = 1.0 - decay

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Follow the network."""
        kinds: dict[type, tuple[list[Tensor], list[Tensor]]] = {}
        for own, new in zip(self.module.state_dict().values(), module.state_dict().values(), strict=True):
            if own.is_floating_point():
                # Shards and whole tensors don't go into one fused operation.
                kept, given = kinds.setdefault(type(own), ([], []))
                kept.append(own)
                given.append(new)
            else:
                own.copy_(new)
        for kept, given in kinds.values():
            torch._foreach_lerp_(kept, given, weight=self._share)
