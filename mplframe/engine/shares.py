"""What one of several devices holds of a network that a backend cuts over them, found like the rest of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mplframe.contracts.sharding import Sharding
from mplframe.engine.probe import Probe

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class NetworkShare:
    """One device's share.

    Attributes:
        state_bytes: of weights, gradients, optimizer and average.
        activation_bytes: of one image: what a training forward keeps for the backward.
        whole_weights: names of parameters that can't be cut: each device holds all of them.
        whole_bytes: of these parameters.
        whole_layers: names of convolutions whose maps can't be cut, though they have more than one column.
    """

    state_bytes: int
    activation_bytes: int
    whole_weights: tuple[str, ...]
    whole_bytes: int
    whole_layers: tuple[str, ...]


def network_share(found: Probe, state: Iterable[Tensor], *, averaged: bool, sharding: Sharding) -> NetworkShare:
    """A device's share of a network.

    Args:
        found: the network.
        state: tensors of its optimizer; none where it isn't trained.
        averaged: whether an average of its weights is kept.
        sharding: how the backend cuts.

    Raises:
        UserError: a layer's output can't be cut equally; names the layer.
    """
    state = list(state)
    weights = [*found.network.parameters(), *found.network.buffers()]
    gradients = [p for p in found.network.parameters() if p.requires_grad and state]
    held = [*weights, *gradients, *state, *(weights if averaged else [])]
    whole = {name: p for name, p in found.network.named_parameters() if sharding.weight_parts(p.shape) == 1}
    maps = convolution_maps(found.network, found.images)
    for layer, shape in maps.items():
        sharding.check_activation(shape, layer=f"the layer {layer}")
    return NetworkShare(
        state_bytes=sum(tensor.nbytes // sharding.weight_parts(tensor.shape) for tensor in held),
        activation_bytes=sum(size // sharding.activation_parts(shape) for shape, size in found.kept)
        // len(found.images),
        whole_weights=tuple(whole),
        whole_bytes=sum(p.nbytes for p in whole.values()),
        whole_layers=tuple(
            layer for layer, shape in maps.items() if shape[-1] > 1 and sharding.activation_parts(shape) == 1
        ),
    )


def convolution_maps(network: nn.Module, images: Tensor) -> dict[str, Sequence[int]]:
    """The shape of what each convolution gives for `images`, by the layer's name, in order."""
    maps: dict[str, Sequence[int]] = {}

    def seen(name: str, given: Tensor) -> None:
        maps[name] = tuple(given.shape)

    hooks = [
        layer.register_forward_hook(lambda _, __, given, name=name: seen(name, given))
        for name, layer in network.named_modules()
        if isinstance(layer, CONVOLUTIONS)
    ]
    network.eval()
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return maps
