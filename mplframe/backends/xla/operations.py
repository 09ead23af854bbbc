"""Operations that torch_xla would compute on the host, which would end a step's graph in its middle."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.library import Library


@cache
def register() -> Library:
    """Give XLA tensors what this package needs and torch_xla lacks; once for the life of the process."""
    library = Library("aten", "IMPL", "XLA")  # type: ignore[no-untyped-call]
    library.impl("special_entr", _entr)  # type: ignore[no-untyped-call]
    return library


def _entr(x: Tensor) -> Tensor:
    """`-x log x`, 0 at 0."""
    return -torch.xlogy(x, x)
