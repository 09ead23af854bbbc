"""Batch norm over the batches of all processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mplframe.backends.processes import together

Reduce = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
"""The mean of each tensor over all processes."""


def global_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm` in training mode over the samples of all processes.

    Made of differentiable operations, so that it has every derivative that feedback asks for, in forward mode too
    (`torch.nn.SyncBatchNorm` has none, and runs on GPUs alone).

    Args:
        input: [N, C, ...], of the same shape in every process; the other arguments as of torch's.
    """
    wide = input if input.dtype == torch.float64 else input.float()
    over = [dim for dim in range(input.ndim) if dim != 1]
    # Means and variances, not sums of squares: what is left of their differences would be too little in float32.
    var, mean = torch.var_mean(wide, over, correction=0)
    means, variances = _Gathered.apply(torch.stack([mean, var])).unbind(1)
    mean = means.mean(0)
    var = variances.mean(0) + (means - mean).square().mean(0)
    if running_mean is not None and running_var is not None:
        samples = len(means) * input.numel() // input.shape[1]
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * (samples / (samples - 1))).to(running_var.dtype), momentum)
    scale = (var + eps).rsqrt() if weight is None else weight * (var + eps).rsqrt()
    shift = -mean * scale if bias is None else bias - mean * scale
    shape = [1, -1] + [1] * (input.ndim - 2)
    return torch.addcmul(shift.view(shape), wide, scale.view(shape)).to(input.dtype)


class BatchNormOfAll(TorchFunctionMode):
    """A block in which batch norms in training mode know of the other processes, whatever module they are part of.

    Running statistics come out the same in all processes.

    Args:
        reduce: the mean over all processes.
        normalise: normalise by the statistics of the global batch; else each process by its own, and only the running
            statistics are averaged, when the block ends.
    """

    def __init__(self, reduce: Reduce, *, normalise: bool) -> None:
        super().__init__()
        self._reduce = reduce
        self._normalise = normalise
        self._running: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is not F.batch_norm or not kwargs["training"]:
            return function(*args, **kwargs)
        if self._normalise:
            return global_batch_norm(*args, **kwargs)
        images, mean, var, *rest = args
        return function(images, self._own(mean), self._own(var), *rest, **kwargs)

    def _own(self, running: Tensor | None) -> Tensor | None:
        """A copy to be changed in place of running statistics, since torch's backward wants it as it leaves it."""
        if running is None:
            return None
        _, latest = self._running.get(id(running), (running, running))
        self._running[id(running)] = running, latest.clone()
        return self._running[id(running)][1]

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        if self._running and error is None:
            running, own = zip(*self._running.values(), strict=True)
            # All began with the same values: the mean of what became of them is what the mean statistics make of them.
            for tensor, mean in zip(running, self._reduce(own), strict=True):
                tensor.copy_(mean)
        self._running.clear()


class _Gathered(torch.autograd.Function):
    """[...] of each process -> [processes, ...] of all; linear, so its derivatives are of its own kind."""

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        return _gathered(local)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        with together():
            dist.all_reduce(total)
        return total[dist.get_rank()]

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return _gathered(tangent)


def _gathered(local: Tensor) -> Tensor:
    found = [torch.empty_like(local, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
    with together():
        dist.all_gather(found, local.contiguous())
    return torch.stack(found)
