"""What makes optimizers and learning rates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from pydantic import NonNegativeFloat, PositiveFloat

from mplframe.config.base import ComponentConfig


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
