"""The contract of methods."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from mplframe.builders import Maker
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.batch import Batch, Metrics
from mplframe.contracts.method import Method, Plan, Stage, StagePlan, TaskPlan
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
    with TemporaryDirectory() as files:
        context = MemoryContext.on_the_cpu(maker, spec, Path(files))
        for plan in plans:
            if isinstance(plan, TaskPlan):
                _check_task(plan, context)
                continue
            assert plan.steps >= 2, f"{plan.name}: give it at least 2 steps, so that it can be stopped between them"
            context.artifacts.update(_check_stage(plan, context, min(steps, plan.steps)))


def _check_plans(plans: list[Plan]) -> None:
    names = [plan.name for plan in plans]
    assert plans, "the method has no stages"
    assert len(set(names)) == len(names), f"stages share a name: {names}"
    assert isinstance(plans[-1], StagePlan), f"the method ends with the task {names[-1]}, which leaves no network"
    for plan in plans:
        if isinstance(plan, TaskPlan):
            continue
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
    return [
        (p.name, tuple(p.networks))
        if isinstance(p, TaskPlan)
        else (p.name, p.steps, p.streams, tuple(p.networks), tuple(p.passes))
        for p in plans
    ]


def _check_task(plan: TaskPlan, context: MemoryContext) -> None:
    found = plan.run(context)
    left = _contents(context.files)
    json.dumps(found)
    assert plan.run(context) == found, f"{plan.name}: run again when all was done, it gave other results"
    assert _contents(context.files) == left, f"{plan.name}: run again when all was done, it changed its files"


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


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
    if streams.assigned and batch.unlabeled is not None:
        odds = torch.rand(len(batch.unlabeled), context.spec.classes, generator=torch.Generator().manual_seed(step))
        batch = replace(batch, unlabeled=replace(batch.unlabeled, targets=odds / odds.sum(-1, keepdim=True)))
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
