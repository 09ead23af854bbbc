"""What makes optimizers and learning rates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch

from mplframe.config.base import ComponentConfig


class OptimizerFactory(ABC):
    """Makes a torch optimizer from its `Config`.

    Its learning rate is the schedule's: every step sets `lr` of each group to the config's `lr` times the schedule.
    """

    Config: type[ComponentConfig]

    @property
    @abstractmethod
    def lr(self) -> float:
        """The peak learning rate, for one step."""

    @property
    @abstractmethod
    def weight_decay(self) -> float:
        """Of the parameters that decay; norms and biases don't unless the config says so."""

    @property
    def decay_all(self) -> bool:
        """Whether norms and biases decay too."""
        return False

    @abstractmethod
    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimizer over parameter groups that already carry their `weight_decay`."""


class Schedule(ABC):
    """The learning rate over the steps, in closed form: nothing to save, nothing to resume."""

    Config: type[ComponentConfig]

    @abstractmethod
    def at(self, step: int, steps: int) -> float:
        """What the peak learning rate is multiplied by in step `step` (from 0) of `steps`."""
