"""`mplframe plan`: rehearses each stage and says what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, final

import torch

from mplframe.builders.context import Context, check_stage, image_spec
from mplframe.builders.maker import Maker
from mplframe.config.base import ComponentConfig
from mplframe.config.run import RunConfig
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.backend import Backend
from mplframe.contracts.method import Plan, PlannedNetwork, StagePlan
from mplframe.errors import UserError
from mplframe.planning.cost import PlanCost, StageCost, is_counted, plan_cost, shared_bytes
from mplframe.planning.devices import Devices
from mplframe.planning.fit import Case, OnDevice, Remedy
from mplframe.planning.meta import Results
from mplframe.planning.rehearsal import Footprint, Precision, Variant, rehearse


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
        except UserError:
            raise
        except Exception as error:
            # A stage may do anything that a device can do, a third party's more than ours: only the plan suffers.
            return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


MESH = {"model": 16}
"""Devices that share a replica in MPL v4, section 4."""


@final
class Planner:
    """Plans one run; see `mplframe.api.plan`.

    Args:
        config: of the run.
        make: makes components.
        devices: that it would run on, if it is known.
        rehearse: run a step of each stage without values.
    """

    def __init__(self, config: RunConfig, make: Maker, devices: Devices | None, rehearse: bool) -> None:
        self.config = config
        self.make = make
        self.devices = devices
        self.rehearse = rehearse
        self.spec: ImageSpec = image_spec(config, make("dataset", config.data).classes)
        self.precision: Precision = getattr(config.backend, "precision", "fp32")
        self.sharding = make.components.get("backend", config.backend.name).sharding(config.backend)
        self.rehearsals = Rehearsals(config, make, self.spec)

    def plan(self) -> PlanCost:
        """All stages, those of baselines first."""
        methods = [self.make("method", c).stages(self.make) for c in (*self.config.baselines, self.config.method)]
        stages = [stage for plans in methods for stage in plans]
        for stage in stages:
            check_stage(stage, self.make, self.spec)
        costs = self._costs(stages, self.config.backend)
        by_plan = {id(stage): plans for plans in methods for stage in plans}
        found = (self._stage(plan, by_plan[id(plan)], cost) for plan, cost in costs)
        return PlanCost(tuple(found), self.devices, self.precision)

    def _costs(self, stages: Sequence[Plan], backend: ComponentConfig) -> list[tuple[Plan, StageCost]]:
        cost = plan_cost(
            stages,
            self.spec,
            architecture=lambda c: self.make("architecture", c),
            optimizer=lambda c: self.make("optimizer", c),
            sharding=self.make.components.get("backend", backend.name).sharding(backend),
        )
        return list(zip(filter(is_counted, stages), cost.stages, strict=True))

    def _stage(self, plan: Plan, method: Sequence[Plan], cost: StageCost) -> StageCost:
        if not isinstance(plan, StagePlan):
            return self._placed(cost, lambda world: cost.peak_bytes, tuple)
        if self.sharding is not None:
            return self._meshed(plan, cost)
        if not self.rehearse:
            return self._placed(cost, lambda world: cost.peak_bytes, tuple)
        gpu = self.devices.device.gpu if self.devices else _on_gpu(self.config)
        recompute = bool(getattr(self.config.backend, "recompute", False))
        variant = Variant(self.precision, recompute, gpu, parts=min(2, plan.streams.accumulate))
        attempt = cache(lambda variant: self.rehearsals(plan, method, variant))
        found = attempt(variant)
        if isinstance(found, str):
            return self._placed(replace(cost, estimated=found), lambda world: cost.peak_bytes, tuple)
        sharded = self.config.backend.name == "fsdp"
        cost = replace(cost, peak_bytes=found.peak(), estimated="")

        def remedies() -> tuple[Remedy, ...]:
            assert self.devices is not None
            case = Case(plan.streams, self.devices, variant, sharded, lambda v: _known(attempt(v)))
            return (*case.remedies(), *self._mesh(plan))

        return self._placed(cost, lambda world: found.peak(world=world, sharded=sharded), remedies)

    def _placed(
        self, cost: StageCost, peak: Callable[[int], int], remedies: Callable[[], tuple[Remedy, ...]]
    ) -> StageCost:
        """The stage on the devices, if there are any."""
        if self.devices is None:
            return cost
        own = peak(self.devices.count)
        fits = own <= self.devices.room
        days = self.devices.days(cost.flops, self.precision)
        return replace(cost, on_device=OnDevice(own, fits, days, () if fits else remedies()))

    def _meshed(self, plan: StagePlan, cost: StageCost) -> StageCost:
        """A stage on a backend that cuts tensors by rules."""
        count = self.devices.count if self.devices else 1
        own = shared_bytes(plan, cost.networks, replicas=max(1, count // getattr(self.config.backend, "model", 1)))
        cost = replace(cost, peak_bytes=own, estimated="the share of one device, by the rules of the backend")
        return self._placed(cost, lambda world: own, tuple)

    def _mesh(self, plan: StagePlan) -> tuple[Remedy, ...]:
        """The paper's way, for TPUs."""
        if self.devices is None or self.devices.device.gpu:
            return ()
        backend = self.make.components.config("backend", "xla_spmd").model_validate(MESH)
        try:
            ((_, cost),) = self._costs([plan], backend)
        except UserError:
            # A layer's map can't be cut in so many parts: it is no remedy.
            return ()
        own = shared_bytes(plan, cost.networks, replicas=max(1, self.devices.count // MESH["model"]))
        count = max(MESH["model"], self.devices.count)
        return (
            Remedy(f"backend xla_spmd, model=16 over {count} devices (upper estimate)", own, own <= self.devices.room),
        )


def _on_gpu(config: RunConfig) -> bool:
    device = getattr(config.backend, "device", "auto")
    return str(device).startswith("cuda") or (device == "auto" and torch.cuda.is_available())


def _known(found: Footprint | str) -> Footprint | None:
    return None if isinstance(found, str) else found
