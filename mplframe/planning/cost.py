"""What a plan costs, found without data or weights; FLOPs are counted as `mplframe.planning.probe` counts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.contracts.backend import Sharding
from mplframe.contracts.method import Plan, PlannedNetwork, StagePlan, TaskPlan
from mplframe.contracts.optimizer import OptimizerFactory
from mplframe.errors import UserError
from mplframe.planning.devices import Devices
from mplframe.planning.fit import OnDevice
from mplframe.planning.probe import NetworkShare, Probe, network_share, optimizer_state, probe, total_bytes

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
        share: what one device holds of it, where the backend cuts networks over devices.
        lr: its peak learning rate, scaled to the batch; None where it isn't trained.
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
    share: NetworkShare | None = None
    lr: float | None = None

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
        peak_bytes: the most that tensors take in a step, by its rehearsal; what the device's libraries take comes on
            top. Where the step wasn't rehearsed, the state of all networks and these activations.
        estimated: why it wasn't rehearsed; empty where it was.
        on_device: the stage on the devices that it is planned for, if any.
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
    estimated: str = "not rehearsed"
    on_device: OnDevice | None = None


@dataclass(frozen=True)
class PlanCost:
    """All stages of a method, in order.

    Attributes:
        stages: and the tasks that bring a network.
        devices: that they are planned for, if any.
        precision: of forwards.
    """

    stages: tuple[StageCost, ...]
    devices: Devices | None = None
    precision: str = "fp32"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, named like the attributes."""
        stages = [_plain(asdict(stage)) for stage in self.stages]
        return {"stages": stages, "devices": None if self.devices is None else self.devices.to_json(self.precision)}


def plan_cost(
    stages: Sequence[Plan],
    spec: ImageSpec,
    *,
    architecture: Callable[[ComponentConfig], Architecture],
    optimizer: Callable[[ComponentConfig], OptimizerFactory],
    sharding: Sharding | None = None,
) -> PlanCost:
    """What the stages of a method cost.

    Args:
        stages: as `Method.stages` gives them; tasks, whose length depends on the data, are left out, except those that
            bring a network into the run.
        spec: what all networks take in and give out.
        architecture: makes the architecture of a config.
        optimizer: makes the optimizer factory of a config.
        sharding: how the backend cuts networks over devices; None where it doesn't.

    Raises:
        UserError: a network doesn't take images of this shape or can't be cut, an optimizer can't step, or a stage
            passes images through a network that it doesn't plan.
    """
    probes: dict[str, Probe] = {}

    def cost(planned: PlannedNetwork, size: int | None = None) -> NetworkCost:
        taken = planned.spec(spec)
        if size is not None and not planned.distributions:
            taken = replace(taken, size=size)
        # Teacher and student are often the same architecture: it is probed once.
        key = repr((planned.architecture, taken))
        if key not in probes:
            probes[key] = probe(architecture(planned.architecture), taken, name=planned.architecture.name)
        factory = optimizer(planned.optimizer) if planned.optimizer else None
        return network_cost(planned, probes[key], factory, sharding)

    def whole(stage: Plan) -> StageCost:
        if isinstance(stage, TaskPlan):
            return task_cost(stage, [cost(network) for network in stage.networks])
        return stage_cost(stage, [cost(network, stage.streams.size) for network in stage.networks])

    return PlanCost(tuple(whole(stage) for stage in stages if is_counted(stage)))


def is_counted(plan: Plan) -> bool:
    """Whether a plan has a cost of its own: stages, and tasks that bring a network into the run."""
    return isinstance(plan, StagePlan) or any(network.given for network in plan.networks)


def shared_bytes(stage: StagePlan, networks: Sequence[NetworkCost], *, replicas: int) -> int:
    """What one device holds at most of a stage whose networks are cut over devices: an upper estimate.

    Args:
        stage: the plan.
        networks: its networks, shares included.
        replicas: that share each batch.
    """
    shares = {network.role: network.share for network in networks if network.share is not None}
    kept = sum(p.images * shares[p.network].activation_bytes for p in stage.passes if p.backward)
    return kept // (stage.streams.accumulate * replicas) + sum(share.state_bytes for share in shares.values())


def _plain(value: Any) -> Any:
    """Tuples as the lists that JSON makes of them."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value


def network_cost(
    planned: PlannedNetwork, found: Probe, optimizer: OptimizerFactory | None, sharding: Sharding | None = None
) -> NetworkCost:
    """What a network with its optimizer costs; without one it isn't trained and needs no gradients.

    Raises:
        UserError: the optimizer can't step on the meta device, or the network can't be cut.
    """
    parameters, buffers = list(found.network.parameters()), list(found.network.buffers())
    weight_bytes = total_bytes([*parameters, *buffers])
    gradients, state = 0, []
    if optimizer is not None and planned.optimizer is not None:
        gradients = total_bytes(p for p in parameters if p.requires_grad)
        state = optimizer_state(found.network, optimizer, name=planned.optimizer.name)
    return NetworkCost(
        role=planned.role,
        parameters=sum(p.numel() for p in parameters),
        buffers=sum(b.numel() for b in buffers),
        weight_bytes=weight_bytes,
        gradient_bytes=gradients,
        optimizer_bytes=total_bytes(state),
        ema_bytes=weight_bytes if planned.ema else 0,
        forward_flops=found.forward_flops,
        activation_bytes=found.activation_bytes,
        share=None if sharding is None else network_share(found, state, averaged=planned.ema, sharding=sharding),
        lr=None if optimizer is None else optimizer.config.lr * planned.lr_scale,
    )


def task_cost(task: TaskPlan, networks: Sequence[NetworkCost]) -> StageCost:
    """What the networks of a task take up; it has no steps."""
    return StageCost(
        name=task.name,
        steps=0,
        images_per_step=0,
        images=0,
        networks=tuple(networks),
        flops_per_step=0,
        flops=0,
        activation_bytes=0,
        peak_bytes=sum(network.state_bytes for network in networks),
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
