"""What a plan costs, found without data or weights. Units: bytes, and FLOPs as `mplframe.engine.probe` counts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.contracts.method import Plan, PlannedNetwork, StagePlan
from mplframe.contracts.optimizer import OptimizerFactory
from mplframe.engine.probe import Probe, optimizer_bytes, probe, total_bytes
from mplframe.errors import UserError

FORWARD_AND_BACKWARD = 3
"""A backward computes two products, for the input and for the weights, of the size of the forward's one."""


@dataclass(frozen=True)
class NetworkCost:
    """One network of a stage.

    Attributes:
        role: such as `teacher`.
        parameters: how many numbers are trained or frozen.
        buffers: how many numbers are kept beside them, such as batch statistics.
        weight_bytes: of parameters and buffers.
        gradient_bytes: of the trained parameters.
        optimizer_bytes: of the optimizer's state after a step.
        ema_bytes: of the averaged network; 0 where none is kept.
        forward_flops: of one image.
        activation_bytes: of one image: what a training forward keeps for the backward.
    """

    role: str
    parameters: int
    buffers: int
    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    ema_bytes: int
    forward_flops: int
    activation_bytes: int

    @property
    def state_bytes(self) -> int:
        """What the network takes up whatever the batch."""
        return self.weight_bytes + self.gradient_bytes + self.optimizer_bytes + self.ema_bytes


@dataclass(frozen=True)
class StageCost:
    """One stage.

    Attributes:
        name: of the stage.
        steps: how many.
        images_per_step: fed, labeled and unlabeled.
        images: fed in all steps.
        networks: each network that it trains.
        flops_per_step: of all passes; a backward is twice its forward.
        flops: of all steps.
        activation_bytes: of one micro-batch, if the graphs of all passes were kept at once: an upper estimate.
        peak_bytes: the state of all networks and these activations. What a feedback estimator keeps beside the
            gradients, and what the device's libraries take, come on top.
    """

    name: str
    steps: int
    images_per_step: int
    images: int
    networks: tuple[NetworkCost, ...]
    flops_per_step: int
    flops: int
    activation_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class PlanCost:
    """All stages of a method, in order."""

    stages: tuple[StageCost, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, named like the attributes."""
        return {"stages": [{**asdict(stage), "networks": [asdict(n) for n in stage.networks]} for stage in self.stages]}


def plan_cost(
    stages: Sequence[Plan],
    spec: ImageSpec,
    *,
    architecture: Callable[[ComponentConfig], Architecture],
    optimizer: Callable[[ComponentConfig], OptimizerFactory],
) -> PlanCost:
    """What the stages of a method cost.

    Args:
        stages: as `Method.stages` gives them; tasks, whose length depends on the data, are left out.
        spec: what all networks take in and give out.
        architecture: makes the architecture of a config.
        optimizer: makes the optimizer factory of a config.

    Raises:
        UserError: a network doesn't take images of this shape, an optimizer can't step, or a stage passes images
            through a network that it doesn't plan.
    """
    probes: dict[str, Probe] = {}

    def cost(planned: PlannedNetwork, images: ImageSpec) -> NetworkCost:
        taken = images.of_distributions if planned.distributions else images
        # Teacher and student are often the same architecture: it is probed once.
        key = repr((planned.architecture, taken))
        if key not in probes:
            probes[key] = probe(architecture(planned.architecture), taken, name=planned.architecture.name)
        return network_cost(planned, probes[key], optimizer(planned.optimizer) if planned.optimizer else None)

    def whole(stage: StagePlan) -> StageCost:
        images = replace(spec, size=stage.streams.size or spec.size)
        return stage_cost(stage, [cost(network, images) for network in stage.networks])

    return PlanCost(tuple(whole(stage) for stage in stages if isinstance(stage, StagePlan)))


def network_cost(planned: PlannedNetwork, found: Probe, optimizer: OptimizerFactory | None) -> NetworkCost:
    """What a network with its optimizer costs; without one it isn't trained and needs no gradients.

    Raises:
        UserError: the optimizer can't step on the meta device.
    """
    parameters, buffers = list(found.network.parameters()), list(found.network.buffers())
    weight_bytes = total_bytes([*parameters, *buffers])
    gradients = state = 0
    if optimizer is not None and planned.optimizer is not None:
        gradients = total_bytes(p for p in parameters if p.requires_grad)
        state = optimizer_bytes(found.network, optimizer, name=planned.optimizer.name)
    return NetworkCost(
        role=planned.role,
        parameters=sum(p.numel() for p in parameters),
        buffers=sum(b.numel() for b in buffers),
        weight_bytes=weight_bytes,
        gradient_bytes=gradients,
        optimizer_bytes=state,
        ema_bytes=weight_bytes if planned.ema else 0,
        forward_flops=found.forward_flops,
        activation_bytes=found.activation_bytes,
    )


def stage_cost(stage: StagePlan, networks: Sequence[NetworkCost]) -> StageCost:
    """What a stage costs, from what its networks cost.

    Raises:
        UserError: a pass goes through a network that isn't among them.
    """
    by_role = {network.role: network for network in networks}
    if strangers := sorted({p.network for p in stage.passes} - set(by_role)):
        raise UserError(
            f"stage {stage.name!r} plans passes through {', '.join(strangers)}, but its networks are "
            f"{', '.join(by_role)}; the method's plan must name the same roles in both"
        )
    flops = sum(
        p.images * by_role[p.network].forward_flops * (FORWARD_AND_BACKWARD if p.backward else 1) for p in stage.passes
    )
    kept = sum(p.images * by_role[p.network].activation_bytes for p in stage.passes if p.backward)
    activation_bytes = kept // stage.streams.accumulate
    fed = stage.streams.labeled + stage.streams.unlabeled
    return StageCost(
        name=stage.name,
        steps=stage.steps,
        images_per_step=fed,
        images=fed * stage.steps,
        networks=tuple(networks),
        flops_per_step=flops,
        flops=flops * stage.steps,
        activation_bytes=activation_bytes,
        peak_bytes=activation_bytes + sum(network.state_bytes for network in networks),
    )
