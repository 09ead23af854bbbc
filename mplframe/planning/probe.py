"""What a network costs: parameters, activations and FLOPs of one pass, and the shares that processes hold.

Tensors are float32 unless the network says otherwise; autocast needs less.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mplframe.contracts.architecture import Architecture, ImageSpec, check_input
from mplframe.contracts.backend import Sharding
from mplframe.contracts.optimizer import OptimizerFactory
from mplframe.errors import UserError
from mplframe.optim.groups import parameter_groups

IMAGES = 2
"""In a forward: the fewest that batch norm trains on, whatever the resolution."""


@dataclass(frozen=True)
class Probe:
    """A network on the meta device and what its passes cost.

    Attributes:
        network: without values.
        images: what it was run on, `IMAGES` of them.
        forward_flops: of one image.
        kept: shape and bytes of what a training forward of `images` keeps for the backward.
    """

    network: nn.Module
    images: Tensor
    forward_flops: int
    kept: Sequence[tuple[tuple[int, ...], int]]

    @property
    def activation_bytes(self) -> int:
        """Of one image: what a training forward keeps for the backward."""
        return sum(size for _, size in self.kept) // len(self.images)


def probe(architecture: Architecture, spec: ImageSpec, *, name: str) -> Probe:
    """Build a network on the meta device and run it there.

    Args:
        architecture: builds it.
        spec: what it takes in and gives out.
        name: of the architecture, for errors.

    Raises:
        UserError: the network takes clips and is given images or the reverse, doesn't take images of this shape, or
            doesn't run on the meta device.
    """
    check_input(architecture, spec, name=name)
    with torch.device("meta"):
        network = architecture.build(spec)
        images = torch.empty(IMAGES, *spec.shape)
        try:
            return Probe(network, images, forward_flops(network, images), kept_activations(network, images))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise UserError(
                f"the architecture {name!r} can't be run on {' x '.join(map(str, spec.shape))} "
                f"{'images' if spec.frames is None else 'clips'}: {error}; choose another input size or network"
            ) from error


def forward_flops(network: nn.Module, images: Tensor) -> int:
    """FLOPs of one of N `images`, [C, H, W] or [C, T, H, W]: two for each multiplication with its addition.

    Convolutions, matrix products and attention are counted, the rest is negligible.
    """
    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images)
    return int(counter.get_total_flops()) // len(images)


def kept_activations(network: nn.Module, images: Tensor) -> list[tuple[tuple[int, ...], int]]:
    """Shape and bytes of all that a training forward of `images` keeps for its backward; no weights."""
    kept: dict[int, tuple[tuple[int, ...], torch.UntypedStorage]] = {}

    def keep(tensor: Tensor) -> Tensor:
        # Holding the storage keeps its address from being given to another one.
        storage = tensor.untyped_storage()
        kept.setdefault(storage._cdata, (tuple(tensor.shape), storage))
        return tensor

    network.train()
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(images)
    for weight in (*network.parameters(), *network.buffers()):
        kept.pop(weight.untyped_storage()._cdata, None)
    return [(shape, storage.nbytes()) for shape, storage in kept.values()]


def optimizer_state(network: nn.Module, factory: OptimizerFactory, *, name: str) -> list[Tensor]:
    """The tensors that one step of the optimizer leaves behind.

    Args:
        network: on the meta device.
        factory: makes the optimizer.
        name: of the optimizer, for errors.

    Raises:
        UserError: the step doesn't run on the meta device.
    """
    groups = parameter_groups(network, factory.config.weight_decay, decay_all=factory.config.decay_all)
    optimizer = factory.build(groups)
    trained = [parameter for group in groups for parameter in group["params"]]
    for parameter in trained:
        parameter.grad = torch.empty_like(parameter)
    try:
        optimizer.step()
    except (RuntimeError, NotImplementedError) as error:
        raise UserError(
            f"the optimizer {name!r} can't be planned: its step fails on torch's meta device ({error}); "
            "an optimizer must not read tensors on the host"
        ) from error
    finally:
        for parameter in trained:
            parameter.grad = None
    return [value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)]


def total_bytes(tensors: Iterable[Tensor]) -> int:
    """Of all tensors together."""
    return sum(tensor.nbytes for tensor in tensors)


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
