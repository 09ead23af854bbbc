"""Optimizers, and the lookaheads that describe their step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from pydantic import NonNegativeFloat, PositiveFloat

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import Tensors


class OptimizerConfig(ComponentConfig):
    """What every optimizer is told.

    Attributes:
        lr: peak learning rate, for one step.
        weight_decay: of the parameters that decay.
        decay_all: norms and biases decay too.
    """

    lr: PositiveFloat
    weight_decay: NonNegativeFloat = 0.0
    decay_all: bool = False


class OptimizerFactory(ABC):
    """Makes a torch optimizer from its `config`.

    Its learning rate is the schedule's: every step sets `lr` of each group to its peak times the schedule. The peak is
    the config's `lr`, scaled to the batch where `lr_per` says what batch it is for.
    """

    Config: type[OptimizerConfig]
    config: OptimizerConfig

    @abstractmethod
    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimizer over parameter groups that already carry their `weight_decay`."""


class Schedule(ABC):
    """The learning rate over the steps, in closed form: nothing to save, nothing to resume."""

    Config: type[ComponentConfig]

    @abstractmethod
    def at(self, step: int, steps: int) -> float:
        """What the peak learning rate is multiplied by in step `step` (from 0) of `steps`."""


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
