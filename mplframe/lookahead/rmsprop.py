"""The papers' RMSProp: epsilon inside the root, momentum with the learning rate in it (MPL v1, eq. 7-8)."""

from typing import Literal, final

import torch
from timm.optim.rmsprop_tf import RMSpropTF
from torch import Tensor

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors
from mplframe.contracts.lookahead import Lookahead
from mplframe.lookahead.state import per_parameter


def push(total: Tensor, square: Tensor, *, lr: float, decay: float, epsilon: float) -> Tensor:
    """What the gradient adds to the momentum: `lr G / sqrt(decay s + (1 - decay) G^2 + epsilon)`.

    Args:
        total: G, the gradient with weight decay in it.
        square: s, the moving average of squared gradients before the step.
        lr: learning rate.
        decay: of the moving average.
        epsilon: inside the root.
    """
    return lr * total / (decay * square + (1.0 - decay) * total.square() + epsilon).sqrt()


def push_slope(total: Tensor, square: Tensor, *, lr: float, decay: float, epsilon: float) -> Tensor:
    """The derivative of `push` with respect to G, elementwise: `lr (decay s + epsilon) / r^(3/2)`, r the radicand."""
    rest = decay * square + epsilon
    return lr * rest / (rest + (1.0 - decay) * total.square()).pow(1.5)


@final
class RMSProp(Lookahead):
    """`f(g) = -(mu m + push(g + lambda theta))`, for `timm.optim.RMSpropTF` with coupled weight decay."""

    class Config(ComponentConfig):
        """No settings: they are the optimizer's."""

        name: Literal["rmsprop"] = "rmsprop"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def accepts(self, optimizer: torch.optim.Optimizer) -> bool:
        return type(optimizer) is RMSpropTF and all(
            not group["centered"]
            and not group["decoupled_decay"]
            and not group.get("caution", False)
            and (group["lr_in_momentum"] or not group["momentum"])
            for group in optimizer.param_groups
        )

    def displacement(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        moves = []
        for p, g, group, state in per_parameter(optimizer, gradient):
            square = state.get("square_avg", torch.ones_like(p))
            move = push(
                g + group["weight_decay"] * p, square, lr=group["lr"], decay=group["alpha"], epsilon=group["eps"]
            )
            if group["momentum"] and "momentum_buffer" in state:
                move = group["momentum"] * state["momentum_buffer"] + move
            moves.append(-move)
        return tuple(moves)

    def label_part(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        parts = []
        for p, g, group, state in per_parameter(optimizer, gradient):
            square = state.get("square_avg", torch.ones_like(p))
            settings = {"lr": group["lr"], "decay": group["alpha"], "epsilon": group["eps"]}
            pull = group["weight_decay"] * p
            parts.append(push(pull, square, **settings) - push(g + pull, square, **settings))
        return tuple(parts)

    def pullback(self, optimizer: torch.optim.Optimizer, gradient: Tensors, vector: Tensors) -> Tensors:
        slopes = [
            push_slope(
                g + group["weight_decay"] * p,
                state.get("square_avg", torch.ones_like(p)),
                lr=group["lr"],
                decay=group["alpha"],
                epsilon=group["eps"],
            )
            for p, g, group, state in per_parameter(optimizer, gradient)
        ]
        return tuple(-slope * u for slope, u in zip(slopes, vector, strict=True))
