"""Batch norm of plain operations, which XLA's partitioner can split.

XLA's own operation makes each device gather all activations, and torch_xla's keeps a biased running variance.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
