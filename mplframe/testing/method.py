"""The contract of methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mplframe.builders import Maker
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.batch import Batch, Metrics
from mplframe.contracts.method import Method, Stage, StagePlan
from mplframe.plugins import Components, discover
from mplframe.testing.component import copied, made, same, stored
from mplframe.testing.context import MemoryContext
from mplframe.testing.problem import SPEC, random_batch


def check_method(
    make: Callable[[], Method],
    *,
    spec: ImageSpec = SPEC,
    components: Components | None = None,
    steps: int = 4,
) -> None:
    """Hold a method against its contract, on noise.

    Its plan is consistent, and the same every time; each stage, fed what it asks for, gives 0-d metrics and networks
    that classify; it learns what it says it trains; a stage restored from a checkpoint in its middle ends with the
    same weights to the bit as one that was never stopped; later stages find the artifacts that they start from.

    Args:
        make: makes the method; its architectures have to take images of `spec`.
        spec: of the images.
        components: what names in its config refer to; everything installed by default.
        steps: how many are taken of each stage, at least 2; never more than the stage has.

    Raises:
        AssertionError: names the broken promise.
    """
    maker = Maker(components or discover())
    plans = list(made(make, Method).stages(maker))
    _check_plans(plans)
    assert _outline(plans) == _outline(make().stages(maker)), "the same config gave another plan the second time"
    context = MemoryContext.on_the_cpu(maker, spec)
    for plan in plans:
        assert plan.steps >= 2, f"{plan.name}: give it at least 2 steps, so that it can be stopped between them"
        context.artifacts.update(_check_stage(plan, context, min(steps, plan.steps)))


def _check_plans(plans: list[StagePlan]) -> None:
    names = [plan.name for plan in plans]
    assert plans, "the method has no stages"
    assert len(set(names)) == len(names), f"stages share a name: {names}"
    for plan in plans:
        streams = plan.streams
        assert plan.networks, f"{plan.name}: it trains no network"
        assert plan.passes, f"{plan.name}: a step passes through no network, so `mplframe plan` can't tell its cost"
        for size in (streams.labeled, streams.unlabeled):
            cut = size % streams.accumulate == 0
            assert cut, f"{plan.name}: {size} samples can't be cut into {streams.accumulate} equal micro-batches"
        roles = {network.role for network in plan.networks}
        for each in plan.passes:
            assert each.images > 0, f"{plan.name}: a pass through {each.network} of {each.images} images"
            trained = not each.backward or each.network in roles
            assert trained, f"{plan.name}: gradients pass through {each.network!r}, which isn't among its networks"


def _outline(plans: Any) -> list[Any]:
    return [(p.name, p.steps, p.streams, tuple(p.networks), tuple(p.passes)) for p in plans]


def _check_stage(plan: StagePlan, context: MemoryContext, steps: int) -> Mapping[str, Mapping[str, Any]]:
    """What the stage leaves behind."""
    stage = plan.build(context)
    assert isinstance(stage, Stage), f"{plan.name}: build gave {type(stage).__name__}, not a Stage"
    begun = copied(stage.state_dict())
    stops = steps // 2
    names = [_check_metrics(plan, stage.step(_batches(plan, context, step), step)) for step in range(stops)]
    middle = stored(stage.state_dict())
    names += [_check_metrics(plan, stage.step(_batches(plan, context, step), step)) for step in range(stops, steps)]
    assert all(keys == names[0] for keys in names), f"{plan.name}: metrics change from step to step: {names}"
    assert same(begun, stage.state_dict()), f"{plan.name}: {steps} steps changed nothing"
    _check_resumed(plan, context, middle, stage, range(stops, steps))
    _check_networks(plan, context, stage)
    return {role: copied(state) for role, state in stage.artifacts().items()}


def _batches(plan: StagePlan, context: MemoryContext, step: int) -> list[Batch]:
    streams = plan.streams
    batch = random_batch(
        context.spec, labeled=streams.labeled, unlabeled=streams.unlabeled, views=streams.views, seed=step
    )
    return [context.backend.place(part) for part in batch.split(streams.accumulate)]


def _check_metrics(plan: StagePlan, metrics: Metrics) -> set[str]:
    assert metrics, f"{plan.name}: a step gives no metrics"
    for name, value in metrics.items():
        assert isinstance(value, Tensor), f"{plan.name}: {name} is {type(value).__name__}; metrics stay on the device"
        assert value.shape == (), f"{plan.name}: {name} is {list(value.shape)}, not []"
        assert not value.requires_grad, f"{plan.name}: {name} holds on to its graph; detach it"
    return set(metrics)


def _check_resumed(plan: StagePlan, context: MemoryContext, middle: Any, done: Stage, left: range) -> None:
    resumed = plan.build(context)
    resumed.load_state_dict(middle)
    for step in left:
        resumed.step(_batches(plan, context, step), step)
    differs = same(done.state_dict(), resumed.state_dict())
    assert not differs, f"{plan.name}: resumed after step {left.start} it ends with another {differs}"


def _check_networks(plan: StagePlan, context: MemoryContext, stage: Stage) -> None:
    batch = context.backend.place(random_batch(context.spec, labeled=4, seed=99)).labeled.weak
    for weights in ("ema", "raw"):
        networks = stage.networks(weights)
        first, main = next(iter(networks), None), plan.networks[0].role
        assert first == main, f"{plan.name}: its first network is {first!r}, in the plan it is {main!r}"
        for role, network in networks.items():
            with torch.no_grad():
                logits = network.eval()(batch)
            shape = [len(batch), context.spec.classes]
            assert list(logits.shape) == shape, (
                f"{plan.name}: {role} ({weights}) gives {list(logits.shape)}, not {shape}"
            )
