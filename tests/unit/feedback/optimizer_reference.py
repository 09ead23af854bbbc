"""Optimizer steps as differentiable functions of the gradient, from the definitions in papers and in torch's and timm's
documentation. They share nothing with the package: autograd through them is what feedback is held against.
"""

from collections.abc import Callable
from typing import Any

import torch
from timm.optim.lars import Lars
from timm.optim.rmsprop_tf import RMSpropTF
from torch import Tensor

State = dict[str, Any]
Rule = Callable[[Tensor, Tensor, State, State], Tensor]


def sgd(theta: Tensor, g: Tensor, group: State, state: State) -> Tensor:
    d = g + group["weight_decay"] * theta
    mu = group["momentum"]
    b = mu * state["momentum_buffer"] + d if state.get("momentum_buffer") is not None else d
    return theta - group["lr"] * (d + mu * b if group["nesterov"] else b if mu else d)


def rmsprop(theta: Tensor, g: Tensor, group: State, state: State) -> Tensor:
    """MPL v1, eq. 7-8, with TensorFlow's initial mean square of 1."""
    d = g + group["weight_decay"] * theta
    square = group["alpha"] * state["square_avg"] + (1 - group["alpha"]) * d**2
    move = group["lr"] * d / torch.sqrt(square + group["eps"])
    return theta - (group["momentum"] * state["momentum_buffer"] + move)


def adam(theta: Tensor, g: Tensor, group: State, state: State) -> Tensor:
    """Kingma & Ba 2015, algorithm 1; decay as in Loshchilov & Hutter 2019, algorithm 2, where it is decoupled."""
    decoupled = group["decoupled_weight_decay"]
    d = g if decoupled else g + group["weight_decay"] * theta
    b1, b2 = group["betas"]
    t = int(state["step"]) + 1
    m = (b1 * state["exp_avg"] + (1 - b1) * d) / (1 - b1**t)
    v = (b2 * state["exp_avg_sq"] + (1 - b2) * d**2) / (1 - b2**t)
    kept = theta * (1 - group["lr"] * group["weight_decay"]) if decoupled else theta
    return kept - group["lr"] * m / (torch.sqrt(v) + group["eps"])


def lars(theta: Tensor, g: Tensor, group: State, state: State) -> Tensor:
    """You et al. 2017, algorithm 1, with momentum over the scaled gradient as timm has it."""
    decay = group["weight_decay"]
    d = g
    if decay or group["always_adapt"]:
        ratio = group["trust_coeff"] * theta.norm() / (g.norm() + decay * theta.norm() + group["eps"])
        d = ratio * (g + decay * theta)
    b = group["momentum"] * state["momentum_buffer"] + d if "momentum_buffer" in state else d
    return theta - group["lr"] * b


RULES: dict[type, Rule] = {
    torch.optim.SGD: sgd,
    RMSpropTF: rmsprop,
    torch.optim.Adam: adam,
    torch.optim.AdamW: adam,
    Lars: lars,
}


def stepped(optimizer: torch.optim.Optimizer, theta: list[Tensor], gradient: list[Tensor]) -> list[Tensor]:
    """The parameters after `optimizer`'s next step, with a graph to the gradient; the optimizer stays as it is."""
    rule = RULES[type(optimizer)]
    owned = [(p, group) for group in optimizer.param_groups for p in group["params"]]
    return [
        rule(t.detach(), g, group, optimizer.state[p]) for t, g, (p, group) in zip(theta, gradient, owned, strict=True)
    ]
