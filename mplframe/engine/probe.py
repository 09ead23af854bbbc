"""What one network costs, measured on torch's meta device: tensors with shapes and no values.

Tensors are float32 unless the network says otherwise; autocast needs less.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mplframe.contracts.architecture import Architecture, ImageSpec, check_input
from mplframe.contracts.optimizer import OptimizerFactory
from mplframe.errors import UserError
from mplframe.optimizers.groups import parameter_groups

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
