"""What a stage is built with in a suite: a real context without a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from mplframe.backends.single import Single
from mplframe.builders import Context, Maker
from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.backend import Backend
from mplframe.contracts.lookahead import Lookahead
from mplframe.errors import UserError


@dataclass
class MemoryContext:
    """See `mplframe.contracts.method.StageContext`; artifacts stay in memory.

    Attributes:
        context: the real one.
        artifacts: what stages left, by role.
    """

    context: Context
    artifacts: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def on_the_cpu(cls, make: Maker, spec: ImageSpec) -> MemoryContext:
        """In this process, with images of this kind.

        Args:
            make: makes components.
            spec: of the images.
        """
        halves = (0.5,) * spec.channels
        return cls(Context(Single(Single.Config(device="cpu")), spec, 0, "method", make, (halves, halves)))

    @property
    def backend(self) -> Backend:
        return self.context.backend

    @property
    def spec(self) -> ImageSpec:
        return self.context.spec

    @property
    def seed(self) -> int:
        return self.context.seed

    def make(self, kind: str, config: ComponentConfig) -> Any:
        return self.context.make(kind, config)

    def network(self, config: ComponentConfig, role: str) -> nn.Module:
        return self.context.network(config, role)

    def lookahead(self, optimizer: torch.optim.Optimizer) -> Lookahead:
        return self.context.lookahead(optimizer)

    def artifact(self, role: str) -> Mapping[str, Any]:
        if role not in self.artifacts:
            raise UserError(
                f"no earlier stage left a network {role!r} (they left: {', '.join(self.artifacts) or 'none'})"
            )
        return self.artifacts[role]
