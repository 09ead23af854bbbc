"""How far a run has come: plain values that a checkpoint carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Results = dict[str, dict[str, float]]
"""Metrics by network role."""


@dataclass
class Progress:
    """Where a run is.

    Attributes:
        stage: index of the present stage.
        step: steps of it that are done.
        total: steps of all stages that are done.
        images: labeled and unlabeled samples that were learned from.
        seconds: spent in all lives of the run.
        results: of each finished stage, by its name: each network's metrics, `seconds` and `images`.
        best: the best value so far of the metric that decides, or None.
        began_seconds: `seconds` when the present stage began.
        began_images: `images` when the present stage began.
    """

    stage: int = 0
    step: int = 0
    total: int = 0
    images: int = 0
    seconds: float = 0.0
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    best: float | None = None
    began_seconds: float = 0.0
    began_images: int = 0

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Progress:
        """Take back what `state_dict` gave."""
        return cls(**state)
