"""What one step of each optimizer adds to a parameter, written from its documentation, for autograd to go through.

Every formula keeps its own memory from step to step, so that it also checks what a lookahead reads from the optimizer's
state. Settings have the names that the optimizer gives them. Nothing here is imported from mplframe.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Memory = dict[str, Tensor]
Formula = Callable[[Tensor, Tensor, Memory, int, Mapping[str, Any]], tuple[Tensor, Memory]]
"""From parameter, gradient, memory, number of the step (from 1) and settings to displacement and memory."""


def momentum(update: Tensor, memory: Memory, s: Mapping[str, Any]) -> tuple[Tensor, Memory]:
    """The momentum of `torch.optim.SGD`'s documentation; `timm.optim.Lars` takes it over."""
    if s["momentum"] == 0:
        return -s["lr"] * update, memory
    b = s["momentum"] * memory["b"] + (1 - s["dampening"]) * update if "b" in memory else update
    direction = update + s["momentum"] * b if s["nesterov"] else b
    return -s["lr"] * direction, {"b": b.detach()}


def sgd(theta: Tensor, g: Tensor, memory: Memory, t: int, s: Mapping[str, Any]) -> tuple[Tensor, Memory]:
    """`torch.optim.SGD`."""
    return momentum(g + s["weight_decay"] * theta, memory, s)


def rmsprop(theta: Tensor, g: Tensor, memory: Memory, t: int, s: Mapping[str, Any]) -> tuple[Tensor, Memory]:
    """MPL v1, eq. 7-8 as TensorFlow has it: epsilon inside the root, mean square from 1, lr in the momentum."""
    total = g + s["weight_decay"] * theta
    square = s["alpha"] * memory.get("square", torch.ones_like(theta)) + (1 - s["alpha"]) * total**2
    m = s["momentum"] * memory.get("m", torch.zeros_like(theta)) + s["lr"] * total / torch.sqrt(square + s["eps"])
    return -m, {"square": square.detach(), "m": m.detach()}


def adam(theta: Tensor, g: Tensor, memory: Memory, t: int, s: Mapping[str, Any]) -> tuple[Tensor, Memory]:
    """Kingma & Ba 2015, algorithm 1; the weight decay of `torch.optim.Adam`."""
    mean_hat, root, memory = moments(g + s["weight_decay"] * theta, memory, t, s)
    return -s["lr"] * mean_hat / (root + s["eps"]), memory


def adamw(theta: Tensor, g: Tensor, memory: Memory, t: int, s: Mapping[str, Any]) -> tuple[Tensor, Memory]:
    """Loshchilov & Hutter 2019, algorithm 2, with the schedule in lr as in `torch.optim.AdamW`."""
    mean_hat, root, memory = moments(g, memory, t, s)
    return -s["lr"] * (mean_hat / (root + s["eps"]) + s["weight_decay"] * theta), memory


def moments(g: Tensor, memory: Memory, t: int, s: Mapping[str, Any]) -> tuple[Tensor, Tensor, Memory]:
    """Both corrected averages of Adam, the second one's root."""
    first, second = s["betas"]
    mean = first * memory.get("mean", torch.zeros_like(g)) + (1 - first) * g
    square = second * memory.get("square", torch.zeros_like(g)) + (1 - second) * g**2
    kept = {"mean": mean.detach(), "square": square.detach()}
    return mean / (1 - first**t), torch.sqrt(square / (1 - second**t)), kept


def lars(theta: Tensor, g: Tensor, memory: Memory, t: int, s: Mapping[str, Any]) -> tuple[Tensor, Memory]:
    """You et al. 2017, algorithm 1, with what `timm.optim.Lars` adds: exemptions, epsilon, clipping as in LARC."""
    if s["weight_decay"] == 0 and not s["always_adapt"]:
        return momentum(g, memory, s)
    size, length = (theta**2).sum().sqrt(), (g**2).sum().sqrt()
    ratio = torch.ones_like(size)
    if size > 0 and length > 0:
        ratio = s["trust_coeff"] * size / (length + s["weight_decay"] * size + s["eps"])
    if s["trust_clip"]:
        ratio = torch.minimum(ratio / s["lr"], torch.ones_like(ratio))
    return momentum(ratio * (g + s["weight_decay"] * theta), memory, s)
