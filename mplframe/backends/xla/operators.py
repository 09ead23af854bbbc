"""Operators that XLA's SPMD partitioner can't split, written so that it can: batch norm and max pooling.

XLA's own operation makes each device gather all activations, and torch_xla's keeps a biased running variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.library import Library


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm`; arguments as of torch's. Computes in float32 or wider."""
    wide = input if input.dtype == torch.float64 else input.float()
    shape = [1, -1] + [1] * (input.ndim - 2)
    if training or running_mean is None or running_var is None:
        over = [dim for dim in range(input.ndim) if dim != 1]
        mean = wide.mean(over)
        centred = wide - mean.view(shape)
        var = centred.square().mean(over)
        if running_mean is not None and running_var is not None:
            samples = input.numel() // input.shape[1]
            with torch.no_grad():
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_((var * (samples / (samples - 1))).to(running_var.dtype), momentum)
    else:
        centred, var = wide - running_mean.view(shape), running_var
    scale = (var + eps).rsqrt() if weight is None else weight * (var + eps).rsqrt()
    found = centred * scale.view(shape)
    return (found if bias is None else found + bias.view(shape)).to(input.dtype)


Size = int | Sequence[int]


def max_pool(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """`torch.nn.functional.max_pool2d` as the greatest of shifted maps, which take as many times the memory of the
    input as a stride has places of the kernel.

    Args:
        input: [N, C, H, W]; the other arguments as of torch's.
    """
    kernel, padding, dilation = _pair(kernel_size), _pair(padding), _pair(dilation)
    stride = _pair(stride or kernel_size)
    sizes = [
        _outputs(size, *each, ceil=ceil_mode)
        for size, *each in zip(input.shape[-2:], kernel, stride, padding, dilation, strict=True)
    ]
    beyond = [
        max(0, (count - 1) * s + (k - 1) * d + 1 - size - p)
        for size, count, k, s, p, d in zip(input.shape[-2:], sizes, kernel, stride, padding, dilation, strict=True)
    ]
    around = [padding[1], beyond[1], padding[0], beyond[0]]
    wide = F.pad(input, around, value=float("-inf")) if any(around) else input
    shifted = [
        wide[..., i * dilation[0] :: stride[0], j * dilation[1] :: stride[1]][..., : sizes[0], : sizes[1]]
        for i, j in product(range(kernel[0]), range(kernel[1]))
    ]
    return torch.stack(shifted).max(0).values


def is_dual(tensor: Tensor) -> bool:
    """Whether a forward-mode derivative is being taken through this tensor."""
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]


def _outputs(size: int, kernel: int, stride: int, padding: int, dilation: int, *, ceil: bool) -> int:
    reach = size + 2 * padding - dilation * (kernel - 1) - 1
    count = -(-reach // stride) + 1 if ceil else reach // stride + 1
    # The last window has to begin inside the map or its left padding.
    return count - 1 if ceil and (count - 1) * stride >= size + padding else count


def _pair(size: Size) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    return size[0], size[-1]


@cache
def register() -> Library:
    """Give XLA tensors what this package needs and torch_xla lacks; once for the life of the process."""
    library = Library("aten", "IMPL", "XLA")  # type: ignore[no-untyped-call]
    library.impl("special_entr", _entr)  # type: ignore[no-untyped-call]
    return library


def _entr(x: Tensor) -> Tensor:
    """`-x log x`, 0 at 0."""
    return -torch.xlogy(x, x)
