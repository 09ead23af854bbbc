"""Networks cut into shards by torch's `fully_shard`, and the tensors of which processes hold shards."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from mplframe.backends.processes import together


def blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The blocks of a network: what is directly in an `nn.Sequential` or `nn.ModuleList` and has parts of its own.

    A block inside a block is part of it. Lists in lists, such as stages of blocks, are looked through.
    """
    listed = _is_list(module)
    for child in module.children():
        if listed and not _is_list(child) and any(child.children()):
            yield child
        else:
            yield from blocks(child)


def _is_list(module: nn.Module) -> bool:
    return type(module) in (nn.Sequential, nn.ModuleList)


class Sharding:
    """Cuts networks into shards.

    Args:
        mesh: all processes.
        unit_parameters: a block that has at least so many parameters is gathered by itself.
        reshard: whether a unit's weights are given back after its forward.
        precision: of gathered weights and of the averaging of gradients.
        offload: where shards are.
    """

    def __init__(
        self,
        mesh: DeviceMesh,
        *,
        unit_parameters: int,
        reshard: bool,
        precision: MixedPrecisionPolicy,
        offload: OffloadPolicy,
    ) -> None:
        self._unit_parameters = unit_parameters
        self._how: dict[str, Any] = {
            "mesh": mesh,
            "reshard_after_forward": reshard,
            "mp_policy": precision,
            "offload_policy": offload,
        }

    def __call__(self, module: nn.Module) -> nn.Module:
        """Cut a network that is the same in all processes, in place; its parameters keep their names.

        The result can be deep-copied and takes whole tensors in `load_state_dict`, which torch's own can't.
        """
        blank = _without_weights(module)
        ignored = {parameter for parameter in module.parameters() if parameter.ndim <= 1}
        for block in blocks(module):
            if sum(parameter.numel() for parameter in block.parameters()) >= self._unit_parameters:
                fully_shard(block, ignored_params=ignored, **self._how)
        fully_shard(module, ignored_params=ignored, **self._how)
        module.register_load_state_dict_pre_hook(_cut)  # type: ignore[no-untyped-call]
        module.__deepcopy__ = lambda memo: self._copy(module, blank)  # type: ignore[assignment]
        return module

    def _copy(self, module: nn.Module, blank: nn.Module) -> nn.Module:
        weights = {
            id(empty): nn.Parameter(whole(live.detach()).clone(), live.requires_grad)
            for empty, live in zip(blank.parameters(), module.parameters(), strict=True)
        }
        twin = copy.deepcopy(blank, weights)
        for own, live in zip(twin.buffers(), module.buffers(), strict=True):
            own.copy_(live)
        return self(twin)


def _without_weights(module: nn.Module) -> nn.Module:
    empty = {id(weight): nn.Parameter(torch.empty_like(weight, device="meta")) for weight in module.parameters()}
    return copy.deepcopy(module, empty)


def _cut(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Cut the whole tensors of a state dict like the parameters that they are for."""
    for name, parameter in module.named_parameters():
        value = state.get(prefix + name)
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            state[prefix + name] = laid_out_like(parameter, value)


def laid_out_like(live: Tensor, value: Tensor) -> Tensor:
    """A tensor that every process has whole, cut like another one of its shape; nothing travels."""
    if not isinstance(live, DTensor) or isinstance(value, DTensor):
        return value
    cut = distribute_tensor(value, live.device_mesh, live.placements, src_data_rank=None)
    return cut.to(live.device)


def is_cut(tensor: Tensor) -> bool:
    """Whether processes hold shards of it."""
    return isinstance(tensor, DTensor)


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor, device: torch.device | None = None) -> Tensor:
    """A tensor with all its shards, on the device where processes talk to each other."""
    if not isinstance(tensor, DTensor):
        return tensor
    with together():
        found: Tensor = tensor.to(device or tensor.device_mesh.device_type).full_tensor()  # type: ignore[attr-defined]
    return found
