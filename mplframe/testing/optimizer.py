"""Contract suites of optimizers, schedules and lookaheads."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mplframe.contracts.batch import Tensors
from mplframe.contracts.optimizer import Lookahead, Map, OptimizerFactory, Schedule
from mplframe.errors import UserError
from mplframe.optim.groups import parameter_groups
from mplframe.testing.component import copied, made, same, stored, without_values

STEPS = 5


def check_optimizer(make: Callable[[], OptimizerFactory]) -> None:
    """Hold an optimizer factory against its contract.

    Groups start with the factory's `lr` and keep the decay that they came with; every step reads `lr` from them, so a
    rate of 0 moves nothing; a loss goes down; a restored optimizer goes on to the bit; steps never read the device.

    Args:
        make: makes the factory.

    Raises:
        AssertionError: names the broken promise.
    """
    factory = made(make, OptimizerFactory)
    _check_groups(factory)
    _check_rate(factory)
    _check_descent(factory)
    _check_restored(factory)
    _check_meta(factory)


def _network(device: str = "cpu") -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 4)).to(device)


def _build(factory: OptimizerFactory, network: nn.Module) -> torch.optim.Optimizer:
    return factory.build(parameter_groups(network, factory.config.weight_decay, decay_all=factory.config.decay_all))


def _loss(network: nn.Module) -> torch.Tensor:
    inputs = torch.randn(16, 6, generator=torch.Generator().manual_seed(1))
    loss: torch.Tensor = (network(inputs) - inputs[:, :4].sin()).square().mean()
    return loss


def _steps(network: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
    for _ in range(count):
        optimizer.zero_grad()
        _loss(network).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _check_groups(factory: OptimizerFactory) -> None:
    network = _network()
    groups = parameter_groups(network, factory.config.weight_decay, decay_all=factory.config.decay_all)
    optimizer = factory.build(copy.copy(groups))
    given = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    found = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert found.keys() == given.keys(), "the optimizer's parameters aren't those of the groups it was given"
    assert found == given, "the groups lost the weight_decay that they came with"
    for group in optimizer.param_groups:
        peak = factory.config.lr
        assert group["lr"] == peak, f"a group starts with lr {group['lr']}, the factory says {peak}"


def _check_rate(factory: OptimizerFactory) -> None:
    network = _network()
    optimizer = _build(factory, network)
    before = copy.deepcopy(network.state_dict())
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    _steps(network, optimizer, 2)
    moved = same(before, network.state_dict())
    assert not moved, f"{moved} moves at a learning rate of 0: every step has to read the groups' lr"


def _check_descent(factory: OptimizerFactory) -> None:
    network = _network()
    optimizer = _build(factory, network)
    # Far below any peak: to first order every optimizer goes downhill.
    for group in optimizer.param_groups:
        group["lr"] = min(1e-3, factory.config.lr)
    before = _loss(network).item()
    _steps(network, optimizer, STEPS)
    assert _loss(network).item() < before, f"{STEPS} small steps didn't lower a smooth loss"


def _check_restored(factory: OptimizerFactory) -> None:
    network = _network()
    optimizer = _build(factory, network)
    _steps(network, optimizer, 2)
    twin = copy.deepcopy(network)
    restored = _build(factory, twin)
    restored.load_state_dict(stored(optimizer.state_dict()))
    for module, its in ((network, optimizer), (twin, restored)):
        _steps(module, its, 2)
    differs = same(network.state_dict(), twin.state_dict())
    assert not differs, f"{differs} differs after resuming from a checkpoint: state_dict doesn't hold everything"


def _check_meta(factory: OptimizerFactory) -> None:
    network = _network("meta")
    optimizer = _build(factory, network)
    for parameter in network.parameters():
        parameter.grad = torch.empty_like(parameter)
    with without_values("the optimizer's step"):
        optimizer.step()


LOOKAHEAD_STEPS = 20
EXACT = 1e-6
STEP = 1e-6
SLOPE = 1e-5

MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def check_lookahead(
    make: Callable[[], Lookahead], make_optimizer: MakeOptimizer, *, derivative: Literal["given", "refused"] = "given"
) -> None:
    """Hold a lookahead against an optimizer that it says it describes, in float64 over twenty steps.

    Before each step, with a learning rate that changes: `displacement` is what `step()` is about to add, to 1e-6 of
    its size; `label_part` is `f(g) - f(0)`; `pullback` is `J_f(g)^T u`, against central differences of `displacement`;
    neither parameters nor the optimizer's state are touched.

    Args:
        make: makes the lookahead.
        make_optimizer: makes the optimizer over these parameters, all in one group or in several.
        derivative: `refused` for a lookahead whose `pullback` raises a UserError.

    Raises:
        AssertionError: names the broken promise.
    """
    lookahead = made(make, Lookahead)
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(_drawn(generator, *shape)) for shape in ((4, 3), (4,), (2, 4))]
    optimizer = make_optimizer(parameters)
    assert lookahead.accepts(optimizer), f"the lookahead doesn't accept {type(optimizer).__name__} as it is set here"
    peaks = [group["lr"] for group in optimizer.param_groups]
    for step in range(LOOKAHEAD_STEPS):
        pull: Map = tuple  # where there is no derivative there is nothing to compare
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * (1.0 - 0.5 * step / LOOKAHEAD_STEPS)
        ordered = [p for group in optimizer.param_groups for p in group["params"]]
        gradient, vector, direction = (tuple(_drawn(generator, *p.shape) for p in ordered) for _ in range(3))
        before = _state(optimizer)
        expected = lookahead.displacement(optimizer, gradient)
        _check_label_part(lookahead, optimizer, gradient, f"step {step}")
        if derivative == "given":
            pull = _check_pullback(lookahead, optimizer, gradient, vector, direction, f"step {step}")
        else:
            _check_refusal(lookahead, optimizer, gradient)
        differs = same(before, _state(optimizer))
        assert not differs, f"step {step}: looking ahead changed {differs} of the optimizer"
        pulled = pull(vector)
        _check_displacement(optimizer, ordered, gradient, expected, f"step {step}")
        for group in optimizer.param_groups:
            group["lr"] = 0.5 * group["lr"]
        assert not same(pulled, pull(vector)), f"step {step}: what pullback gives isn't the same after the step"


def _drawn(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _state(optimizer: torch.optim.Optimizer) -> object:
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    return copied({"parameters": weights, "state": optimizer.state_dict()})


def _check_displacement(
    optimizer: torch.optim.Optimizer, ordered: list[nn.Parameter], gradient: Tensors, expected: Tensors, where: str
) -> None:
    start = [p.detach().clone() for p in ordered]
    for parameter, g in zip(ordered, gradient, strict=True):
        parameter.grad = g.clone()
    optimizer.step()
    moved = tuple(p.detach() - at for p, at in zip(ordered, start, strict=True))
    _close(expected, moved, EXACT, f"{where}: displacement isn't what step() adds")


def _check_label_part(lookahead: Lookahead, optimizer: torch.optim.Optimizer, gradient: Tensors, where: str) -> None:
    moved = lookahead.displacement(optimizer, gradient)
    still = lookahead.displacement(optimizer, tuple(torch.zeros_like(g) for g in gradient))
    expected = tuple(a - b for a, b in zip(moved, still, strict=True))
    _close(lookahead.label_part(optimizer, gradient), expected, EXACT, f"{where}: label_part isn't f(g) - f(0)")


def _check_pullback(
    lookahead: Lookahead,
    optimizer: torch.optim.Optimizer,
    gradient: Tensors,
    vector: Tensors,
    direction: Tensors,
    where: str,
) -> Map:
    pull = lookahead.pullback(optimizer, gradient)
    pulled = pull(vector)
    ahead, behind = (
        lookahead.displacement(optimizer, tuple(g + sign * STEP * d for g, d in zip(gradient, direction, strict=True)))
        for sign in (1.0, -1.0)
    )
    slope = tuple((a - b) / (2.0 * STEP) for a, b in zip(ahead, behind, strict=True))
    expected, found = _inner(vector, slope), _inner(pulled, direction)
    scale = (_inner(vector, vector) * _inner(slope, slope)).sqrt()
    assert abs(float(found - expected)) <= SLOPE * float(scale), (
        f"{where}: pullback isn't J^T u: <J^T u, d> is {float(found):.9g}, and <u, J d> is {float(expected):.9g} by "
        "central differences of displacement"
    )
    return pull


def _check_refusal(lookahead: Lookahead, optimizer: torch.optim.Optimizer, gradient: Tensors) -> None:
    try:
        lookahead.pullback(optimizer, gradient)
    except UserError:
        return
    raise AssertionError('pullback gives a result; check it with derivative="given"')


def _inner(a: Tensors, b: Tensors) -> Tensor:
    return torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()


def _close(found: Tensors, expected: Tensors, tolerance: float, promise: str) -> None:
    assert len(found) == len(expected), f"{promise}: {len(found)} tensors for {len(expected)} parameters"
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert a.shape == b.shape, f"{promise}: parameter {i} is {list(b.shape)}, this is {list(a.shape)}"
        error, scale = float((a - b).abs().max()), float(b.abs().max())
        assert error <= tolerance * scale + 1e-15, f"{promise}: parameter {i} is off by {error:.3g} of {scale:.3g}"


def check_schedule(make: Callable[[], Schedule], *, lengths: Sequence[int] = (1, 2, 10, 1000)) -> None:
    """Hold a schedule against its contract: factors in [0, 1], some above 0, the same in whatever order they are asked.

    Args:
        make: makes the schedule.
        lengths: numbers of steps that it is asked for.

    Raises:
        AssertionError: names the broken promise.
    """
    schedule, backwards = made(make, Schedule), make()
    for steps in lengths:
        factors = [schedule.at(step, steps) for step in range(steps)]
        for step, factor in enumerate(factors):
            assert isinstance(factor, float | int), f"step {step} of {steps}: {type(factor).__name__}, not a number"
            assert math.isfinite(factor) and 0.0 <= factor <= 1.0, (  # noqa: PT018 - one promise
                f"step {step} of {steps}: {factor} isn't in [0, 1]; it is what the peak rate is multiplied by"
            )
        assert any(factors), f"with {steps} steps the learning rate is always 0"
        again = [backwards.at(step, steps) for step in reversed(range(steps))]
        assert again[::-1] == factors, f"with {steps} steps the rate depends on what was asked before: keep no state"
