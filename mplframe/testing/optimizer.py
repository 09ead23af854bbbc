"""The contract of optimizer factories."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from mplframe.contracts.optimizer import OptimizerFactory
from mplframe.optimizers.groups import parameter_groups
from mplframe.testing.component import made, same, stored, without_values

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
