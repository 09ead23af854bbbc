"""Stages of a config, rehearsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mplframe.builders.context import Context
from mplframe.builders.maker import Maker
from mplframe.config.run import RunConfig
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.backend import Backend
from mplframe.contracts.method import Plan, PlannedNetwork, StagePlan
from mplframe.engine.rehearsal import Footprint, Variant, rehearse
from mplframe.engine.results import Results


@dataclass(frozen=True)
class RehearsalContext(Context):
    """What a rehearsed stage is built with.

    Attributes:
        planned: networks that stages before it leave, and its own, by role.
    """

    planned: Mapping[str, PlannedNetwork] = field(kw_only=True)

    def artifact(self, role: str) -> Mapping[str, Any]:
        network = self.planned[role]
        made = super().network(network.architecture, role, distributions=network.distributions, size=network.size)
        return made.state_dict()


@dataclass(frozen=True)
class Rehearsals:
    """Stages of a run, ready to be rehearsed.

    Attributes:
        config: of the run.
        make: makes components.
        spec: of the images.
        results: of operations, which rehearsals share.
    """

    config: RunConfig
    make: Maker
    spec: ImageSpec
    results: Results = field(default_factory=Results)

    def __call__(self, stage: StagePlan, method: Sequence[Plan], variant: Variant) -> Footprint | str:
        """The footprint of a stage; why it can't be had, where it can't.

        Args:
            stage: which.
            method: all plans of its method.
            variant: how.
        """
        planned = {network.role: network for plan in method for network in plan.networks}

        def context(backend: Backend) -> Context:
            normalisation = self.config.input.normalisation
            return RehearsalContext(
                backend, self.spec, self.config.seed, "plan", self.make, normalisation, None, planned=planned
            )

        try:
            return rehearse(stage, context, self.spec, variant, self.results)
        except Exception as error:
            # A stage may do anything that a device can do, a third party's more than ours: only the plan suffers.
            return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
