"""Each optimizer against its formula in numpy, over twenty steps of each schedule."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from mplframe.contracts.optimizer import OptimizerFactory, Schedule
from mplframe.optim.adam import Adam, AdamW
from mplframe.optim.groups import parameter_groups
from mplframe.optim.lars import LARS
from mplframe.optim.rmsprop import RMSProp
from mplframe.optim.schedules import Constant, Cosine, Exponential
from mplframe.optim.sgd import SGD

STEPS = 20
SCHEDULES: tuple[Schedule, ...] = (
    Constant(),
    Cosine(Cosine.Config(warmup=5)),
    Exponential(Exponential.Config(every=3, warmup=2)),
)
Array = npt.NDArray[np.float64]
Step = Callable[[Array, Array, float], Array]
"""From parameter, gradient and learning rate to the next parameter; keeps its own state."""


def sgd_step(decay: float, momentum: float, nesterov: bool) -> Step:
    velocity: Array | None = None

    def step(p: Array, g: Array, lr: float) -> Array:
        nonlocal velocity
        g = g + decay * p
        velocity = g.copy() if velocity is None else momentum * velocity + g
        return p - lr * (g + momentum * velocity if nesterov else velocity)

    return step


def rmsprop_step(decay: float, momentum: float, keep: float, eps: float) -> Step:
    square: Array | float = 1.0
    velocity: Array | float = 0.0

    def step(p: Array, g: Array, lr: float) -> Array:
        nonlocal square, velocity
        g = g + decay * p
        square = keep * square + (1 - keep) * g**2
        velocity = momentum * velocity + lr * g / np.sqrt(square + eps)
        return p - velocity

    return step


def lars_step(decay: float, momentum: float, trust: float, adapt: bool) -> Step:
    velocity: Array | None = None

    def step(p: Array, g: Array, lr: float) -> Array:
        nonlocal velocity
        norm, slope = np.sqrt((p**2).sum()), np.sqrt((g**2).sum())
        ratio = trust * norm / (slope + decay * norm + 1e-8) if adapt and norm > 0 and slope > 0 else 1.0
        update = ratio * (g + decay * p)
        velocity = update if velocity is None else momentum * velocity + update
        return p - lr * velocity

    return step


def adam_step(decay: float, betas: tuple[float, float], eps: float, decoupled: bool) -> Step:
    mean: Array | float = 0.0
    square: Array | float = 0.0
    t = 0

    def step(p: Array, g: Array, lr: float) -> Array:
        nonlocal mean, square, t
        t += 1
        g = g if decoupled else g + decay * p
        mean = betas[0] * mean + (1 - betas[0]) * g
        square = betas[1] * square + (1 - betas[1]) * g**2
        shrunk = p - lr * decay * p if decoupled else p
        return shrunk - lr * (mean / (1 - betas[0] ** t)) / (np.sqrt(square / (1 - betas[1] ** t)) + eps)

    return step


def trajectory(factory: OptimizerFactory, reference: Callable[[nn.Parameter], Step]) -> None:
    """Assert that both give the same parameters after each step, whatever the schedule."""
    for schedule in SCHEDULES:
        followed(factory, reference, schedule)


def followed(factory: OptimizerFactory, reference: Callable[[nn.Parameter], Step], schedule: Schedule) -> None:
    torch.manual_seed(0)
    module = nn.Linear(5, 3).double()
    with torch.no_grad():
        module.bias.zero_()
    optimizer = factory.build(parameter_groups(module, factory.config.weight_decay, decay_all=factory.config.decay_all))
    parameters = list(module.parameters())
    expected = [p.detach().numpy().copy() for p in parameters]
    steps = [reference(p) for p in parameters]
    rng = np.random.default_rng(0)
    for i in range(STEPS):
        lr = factory.config.lr * schedule.at(i, STEPS)
        gradients = [rng.normal(size=p.shape) for p in parameters]
        for group in optimizer.param_groups:
            group["lr"] = lr
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = torch.from_numpy(g)
        optimizer.step()
        expected = [step(p, g, lr) for step, p, g in zip(steps, expected, gradients, strict=True)]
        for p, e in zip(parameters, expected, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), e, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("decay_all", [False, True])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, True), (0.9, False), (0.0, False)])
def test_sgd(momentum: float, nesterov: bool, decay_all: bool) -> None:
    config = SGD.Config(lr=0.1, momentum=momentum, nesterov=nesterov, weight_decay=0.05, decay_all=decay_all)
    trajectory(SGD(config), lambda p: sgd_step(0.05 if decay_all or p.ndim > 1 else 0.0, momentum, nesterov))


@pytest.mark.parametrize("decay_all", [False, True])
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_rmsprop(momentum: float, decay_all: bool) -> None:
    config = RMSProp.Config(lr=0.1, momentum=momentum, decay=0.8, eps=0.01, weight_decay=0.05, decay_all=decay_all)
    trajectory(RMSProp(config), lambda p: rmsprop_step(0.05 if decay_all or p.ndim > 1 else 0.0, momentum, 0.8, 0.01))


@pytest.mark.parametrize("decay_all", [False, True])
@pytest.mark.parametrize("weight_decay", [0.05, 0.0])
def test_lars(weight_decay: float, decay_all: bool) -> None:
    config = LARS.Config(lr=0.5, trust=0.02, weight_decay=weight_decay, decay_all=decay_all)

    def reference(p: nn.Parameter) -> Step:
        treated = decay_all or p.ndim > 1
        return lars_step(weight_decay if treated else 0.0, 0.9, 0.02, adapt=treated)

    trajectory(LARS(config), reference)


@pytest.mark.parametrize("decay_all", [False, True])
@pytest.mark.parametrize("factory", [Adam, AdamW])
def test_adam(factory: type[Adam] | type[AdamW], decay_all: bool) -> None:
    betas, eps = (0.8, 0.95), 1e-3
    config = factory.Config(lr=0.1, betas=betas, eps=eps, weight_decay=0.5, decay_all=decay_all)

    def reference(p: nn.Parameter) -> Step:
        return adam_step(0.5 if decay_all or p.ndim > 1 else 0.0, betas, eps, decoupled=factory is AdamW)

    trajectory(factory(config), reference)


def test_defaults_are_the_published_settings() -> None:
    assert SGD.Config().model_dump() == {
        "name": "sgd", "lr": 0.3, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0, "decay_all": False,
    }  # fmt: skip
    (group,) = RMSProp().build([{"params": [nn.Parameter(torch.ones(2, 2))], "weight_decay": 1e-5}]).param_groups
    assert (group["alpha"], group["momentum"], group["eps"], group["lr"]) == (0.9, 0.9, 1e-3, 0.128)
    (group,) = LARS().build([{"params": [nn.Parameter(torch.ones(2, 2))], "weight_decay": 0.0}]).param_groups
    assert (group["momentum"], group["lr"], group["trust_coeff"]) == (0.9, 0.001, 0.001)
    for factory, decay in ((Adam, 0.0), (AdamW, 0.01)):
        assert factory().config.weight_decay == decay
        (group,) = factory().build([{"params": [nn.Parameter(torch.ones(2))], "weight_decay": decay}]).param_groups
        assert (group["lr"], group["betas"], group["eps"]) == (0.001, (0.9, 0.999), 1e-8)


@pytest.mark.parametrize(
    ("config", "bad"),
    [
        (Adam.Config, {"betas": (0.9, 1.0)}),
        (Adam.Config, {"betas": (0.9,)}),
        (AdamW.Config, {"eps": 0.0}),
        (AdamW.Config, {"lr": 0.0}),
        (SGD.Config, {"momentum": 0.0}),
        (SGD.Config, {"lr": 0.0}),
        (RMSProp.Config, {"decay": 1.0}),
        (RMSProp.Config, {"eps": 0.0}),
        (LARS.Config, {"weight_decay": -1.0}),
        (LARS.Config, {"nesterov": True}),
    ],
)
def test_bad_settings_are_refused(config: type, bad: dict) -> None:
    with pytest.raises(ValidationError):
        config(**bad)
