"""Which parameters decay."""

from typing import Any

from torch import nn

from mplframe.errors import UserError


def parameter_groups(module: nn.Module, weight_decay: float, *, decay_all: bool = False) -> list[dict[str, Any]]:
    """The trainable parameters of a network in groups that carry their `weight_decay`.

    Args:
        module: the network.
        weight_decay: of the parameters that decay.
        decay_all: False gives norms and biases, the parameters of at most one dimension, a group without decay.

    Returns:
        `{"params": [...], "weight_decay": ...}` for weights, then for norms and biases; groups without parameters are
        left out. The same network always gives the same order, whatever the decay.

    Raises:
        UserError: the network has no trainable parameters.
    """
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not trainable:
        raise UserError(f"{type(module).__name__} has no trainable parameters: there is nothing to optimize")
    if decay_all:
        return [{"params": trainable, "weight_decay": weight_decay}]
    groups = (
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    )
    return [group for group in groups if group["params"]]
