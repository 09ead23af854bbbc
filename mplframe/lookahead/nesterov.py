"""Nesterov momentum, as `torch.optim.SGD(nesterov=True)` defines it."""

from typing import Literal, final

import torch

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors
from mplframe.contracts.lookahead import Lookahead, Map
from mplframe.lookahead.momentum import pull_with, share_with
from mplframe.lookahead.sgd import displacement, is_descent
from mplframe.lookahead.state import for_each, mapped


@final
class Nesterov(Lookahead):
    """`f(g) = -lr (G + mu b')` with `G = g + lambda theta` and `b' = mu b + G`, so `f(g) - f(0) = -lr (1 + mu) g`."""

    class Config(ComponentConfig):
        """No settings: they are the optimizer's."""

        name: Literal["nesterov"] = "nesterov"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def accepts(self, optimizer: torch.optim.Optimizer) -> bool:
        return is_descent(optimizer) and all(group["nesterov"] for group in optimizer.param_groups)

    def displacement(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return for_each(displacement, optimizer, gradient)

    def label_part(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        return for_each(share_with, optimizer, gradient)

    def pullback(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Map:
        return mapped(pull_with, optimizer, gradient)
