"""What an optimizer step does to the parameters, as a function of the gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors

Map = Callable[[Tensors], Tensors]


class Lookahead(ABC):
    """The displacement `f(g) = theta' - theta` that one step of an optimizer makes from the gradient g.

    All three methods are pure: they read the parameters, the optimizer's state and its settings *before* the step, and
    change nothing. Parameters are those of the optimizer's groups, in order; g has one tensor for each.
    """

    Config: type[ComponentConfig]

    @abstractmethod
    def accepts(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether this lookahead describes that optimizer with its present settings."""

    @abstractmethod
    def displacement(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        """`f(g)`, weight decay and momentum included: what `optimizer.step()` is about to add."""

    @abstractmethod
    def label_part(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Tensors:
        """`f(g) - f(0)`: what the gradient adds to a step that would have been made without it."""

    @abstractmethod
    def pullback(self, optimizer: torch.optim.Optimizer, gradient: Tensors) -> Map:
        """`J_f(g)^T`: from a gradient with respect to theta' to one with respect to g.

        The map holds all that it needs of the optimizer: it is asked for before the step and used after it.
        """
