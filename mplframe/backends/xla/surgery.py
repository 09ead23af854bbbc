"""Networks rewritten for a mesh of XLA devices: where sharding is laid down, and how whole tensors come back.

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
from torch_xla.distributed.spmd import XLAShardedTensor, annotate_custom_sharding

from mplframe.backends.xla.operators import batch_norm, is_dual, max_pool
from mplframe.backends.xla.rules import Spec, WidthSharding


def constrained(tensor: Tensor, mesh: Any, spec: Spec, gradient: Spec | None = None) -> Tensor:
    """The same values, laid out as said; with derivatives in both modes.

    Args:
        tensor: any.
        mesh: `torch_xla.distributed.spmd.Mesh`.
        spec: of the result.
        gradient: of the gradient; like the result by default.
    """
    found: Tensor = _Constrained.apply(tensor, mesh, spec, spec if gradient is None else gradient)
    return found


class _Constrained(torch.autograd.Function):
    @staticmethod
    def forward(tensor: Tensor, mesh: Any, spec: Spec, gradient: Spec) -> Tensor:
        return _annotated(tensor, mesh, spec)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, ctx.mesh, ctx.spec, ctx.gradient = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _annotated(gradient, ctx.mesh, ctx.gradient), None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return _annotated(tangent, ctx.mesh, ctx.spec)


def _annotated(tensor: Tensor, mesh: Any, spec: Spec) -> Tensor:
    # The annotation is put on the tensor itself, and a weight has one already. No value is copied.
    annotated = tensor.clone()
    annotate_custom_sharding(annotated, mesh, spec)
    return annotated


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


def put_together(tensor: Tensor) -> Tensor:
    """A copy on the host, made of what this host's devices hold; torch_xla would compile a program to gather it.

    Args:
        tensor: detached and computed; all its shards are on this host.
    """
    shards = XLAShardedTensor(tensor).local_shards
    if not shards or shards[0].indices is Ellipsis:
        return tensor.cpu()
    found = torch.empty(tensor.shape, dtype=tensor.dtype)
    for shard in shards:
        if shard.replica_id == 0:
            # Where a dimension doesn't divide, the last shards are padded.
            held = tuple(slice(at.stop - at.start) for at in shard.indices)
            found[tuple(shard.indices)] = shard.data[held]
    return found
