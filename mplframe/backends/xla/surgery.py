"""Forwards that keep activations split along their width, of networks that know nothing of it.

Marking inputs and weights alone gives right numbers, but the partitioner then gathers the activations of the whole
batch on every device. Each layer that holds weights gets a forward in which batch norm is plain operations, weights of
convolutions are gathered where they are used, and what convolutions give stays split.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.overrides import TorchFunctionMode

from mplframe.backends.xla.batch_norm import batch_norm
from mplframe.backends.xla.constraint import constrained
from mplframe.backends.xla.pooling import is_dual, max_pool
from mplframe.backends.xla.rules import WidthSharding

CONVOLUTIONS = (torch.conv2d, torch.conv3d)


def shard_forwards(network: nn.Module, mesh: Any, rules: WidthSharding) -> None:
    """Change the forwards of a network in place; copies of it keep them.

    Their errors (see `WidthSharding.check_activation`) come when they are first traced, before anything is computed.

    Args:
        network: its first argument is a batch of images or distributions.
        mesh: `torch_xla.distributed.spmd.Mesh`.
        rules: how to split.
    """

    def split_input(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        images, *rest = given
        rules.check_activation(images.shape, layer="the input")
        return constrained(images, mesh, rules.activation(images.shape)), *rest

    network.register_forward_pre_hook(split_input)
    for name, layer in network.named_modules():
        if isinstance(layer, _NormBase | nn.MaxPool2d) or any(True for _ in layer.parameters(recurse=False)):
            # A bound method, so that a deep copy's is bound to the copy. Not one mode around the whole network: modes
            # belong to a thread, and autograd's own one repeats forwards where activations are checkpointed.
            layer.forward = MethodType(_sharded(_Sharded(mesh, rules, name)), layer)


def _sharded(mode: _Sharded) -> Callable[..., Any]:
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with mode:
            return type(self).forward(self, *args, **kwargs)

    return forward


class _Sharded(TorchFunctionMode):
    """Within it, batch norm and convolution are those that split, and pooling has a derivative in forward mode."""

    def __init__(self, mesh: Any, rules: WidthSharding, layer: str) -> None:
        super().__init__()
        self._mesh = mesh
        self._rules = rules
        self._layer = layer

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is F.batch_norm:
            return batch_norm(*args, **(kwargs or {}))
        if function in CONVOLUTIONS:
            return self._convolution(function, *args, **(kwargs or {}))
        if function is F.max_pool2d and is_dual(args[0]):
            return self._pooled(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))

    def _convolution(
        self, function: Callable[..., Tensor], input: Tensor, weight: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        whole = constrained(weight, self._mesh, (None,) * weight.ndim, self._rules.weight(weight.shape))
        found = function(input, whole, *args, **kwargs)
        self._rules.check_activation(found.shape, layer=f"the layer {self._layer}")
        return constrained(found, self._mesh, self._rules.activation(found.shape))

    def _pooled(self, *args: Any, return_indices: bool, **kwargs: Any) -> Any:
        return F.max_pool2d(*args, return_indices=True, **kwargs) if return_indices else max_pool(*args, **kwargs)
