"""What the backend `xla_spmd` is made of, as far as it needs no torch_xla."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mplframe.backends.xla import runtime
from mplframe.backends.xla.backend import XlaSpmd
from mplframe.backends.xla.operators import batch_norm, is_dual, max_pool
from mplframe.backends.xla.optimizer_state import make_state
from mplframe.backends.xla.rules import WidthSharding
from mplframe.contracts.optimizer import OptimizerFactory
from mplframe.errors import UserError
from mplframe.optim.adam import Adam, AdamW
from mplframe.optim.groups import parameter_groups
from mplframe.optim.lars import LARS
from mplframe.optim.rmsprop import RMSProp
from mplframe.optim.sgd import SGD
from mplframe.training.student import forward_mode

FOUR = WidthSharding(4)


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((), ()),
        ((8,), ("model",)),
        ((6,), (None,)),
        ((16, 3, 3, 3), ("model", None, None, None)),
        ((8, 16, 1, 1), (None, "model", None, None)),
        ((8, 8), ("model", None)),
        ((10, 12, 3, 3), (None, "model", None, None)),
    ],
)
def test_weights_are_split_along_their_largest_dimension_that_divides(shape: tuple[int, ...], spec: object) -> None:
    assert FOUR.weight(shape) == spec
    assert FOUR.weight_parts(shape) == (4 if "model" in FOUR.weight(shape) else 1)
    assert WidthSharding(1).weight_parts(shape) == 1


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((2,), ("data",)),
        ((2, 8), ("data", None)),
        ((2, 3, 6, 8), ("data", None, None, "model")),
        ((2, 3, 6, 4), ("data", None, None, "model")),
        ((2, 3, 6, 2), ("data", None, None, None)),
        ((2, 3, 5, 6, 8), ("data", None, None, None, "model")),
    ],
)
def test_activations_are_split_along_samples_and_width(shape: tuple[int, ...], spec: object) -> None:
    assert FOUR.activation(shape) == spec
    FOUR.check_activation(shape, layer="any")


def test_a_width_that_cannot_be_split_is_an_error_that_names_the_layer() -> None:
    with pytest.raises(UserError, match=r"the layer stem has a width of 6, which isn't a multiple of 4"):
        FOUR.check_activation((2, 3, 6, 6), layer="the layer stem")


def version(found: str | None) -> Callable[[str], str]:
    def ask(name: str) -> str:
        if found is None:
            raise PackageNotFoundError(name)
        return found

    return ask


@pytest.mark.parametrize(
    ("torch_xla", "torch_version", "reason"),
    [
        (None, "2.9.0", "torch_xla isn't installed"),
        ("2.9.0", "2.15.0", r"torch_xla 2.9.0 with torch 2.15.0, but both have to be 2.9"),
        ("2.8.1", "2.9.0+cpu", r"torch_xla 2.8.1 with torch 2.9.0\+cpu"),
    ],
)
def test_a_wrong_environment_says_what_to_install(
    torch_xla: str | None, torch_version: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "version", version(torch_xla))
    monkeypatch.setattr(torch, "__version__", torch_version)
    with pytest.raises(UserError, match=rf"backend.name=xla_spmd: {reason}.*torch_xla==2.9.0.*own"):
        XlaSpmd()
    assert XlaSpmd.unavailable() is not None


def test_the_right_versions_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "version", version("2.9.0"))
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    assert XlaSpmd.unavailable() is None


@pytest.mark.parametrize(("data", "model", "expected"), [(None, 16, (1, 16)), (None, 4, (4, 4)), (2, 8, (2, 8))])
def test_a_mesh_takes_all_devices(data: int | None, model: int, expected: tuple[int, int]) -> None:
    assert runtime.mesh_shape(16, data=data, model=model, kind="TPU") == expected


@pytest.mark.parametrize(
    ("data", "model", "message"),
    [
        (None, 32, r"backend.model = 32 doesn't fit 16 CPU device.*CPU_NUM_DEVICES=32"),
        (None, 3, r"backend.model = 3 doesn't fit"),
        (2, 4, r"backend.data = 2 x backend.model = 4 doesn't fit.*CPU_NUM_DEVICES=8"),
    ],
)
def test_a_mesh_of_other_devices_is_an_error(data: int | None, model: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        runtime.mesh_shape(16, data=data, model=model, kind="CPU")


@pytest.mark.parametrize(
    "factory",
    [SGD(), SGD(SGD.Config(momentum=0.0, nesterov=False)), RMSProp(), Adam(), AdamW(), LARS()],
    ids=lambda factory: type(factory).__name__,
)
def test_an_optimizer_given_its_state_steps_as_if_it_had_made_it(factory: OptimizerFactory) -> None:
    def trained(*, given: bool) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
        optimizer = factory.build(parameter_groups(network, 1e-3))
        if given:
            make_state(optimizer)
            before = {id(v) for state in optimizer.state.values() for v in state.values() if isinstance(v, Tensor)}
        for step in range(3):
            optimizer.zero_grad()
            network(torch.full((2, 3), 1.0 + step)).square().mean().backward()
            optimizer.step()
        if given:
            after = {id(v) for state in optimizer.state.values() for v in state.values() if isinstance(v, Tensor)}
            assert before == after, "the step has made a state of its own"
        return network, optimizer

    (alone, first), (led, second) = trained(given=False), trained(given=True)
    for a, b in zip(alone.parameters(), led.parameters(), strict=True):
        assert torch.equal(a, b)
    assert first.state_dict()["state"].keys() == second.state_dict()["state"].keys()


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_that_of_torch(training: bool) -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, 4, 2, generator=random, dtype=torch.float64).mul(2).add(1)
    weight, bias = torch.randn(2, 3, generator=random, dtype=torch.float64)

    def both(function: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        given = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
        running = torch.zeros(3, dtype=torch.float64), torch.full((3,), 2.0, dtype=torch.float64)
        found = function(given[0], *running, *given[1:], training, 0.2, 1e-3)
        return found, *torch.autograd.grad(found.sin().sum(), given), *running

    for expected, found in zip(both(F.batch_norm), both(batch_norm), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "arguments", [(2,), (3, 2, 1), (3, 2, 1, 1, True), ((3, 2), (2, 1), (1, 0)), (2, 1, 1, 2), (3, 3, 1, 1, True)]
)
def test_max_pooling_is_that_of_torch(arguments: tuple[object, ...]) -> None:
    x = torch.randn(2, 3, 11, 9, generator=torch.Generator().manual_seed(0))
    tangent = torch.randn(2, 3, 11, 9, generator=torch.Generator().manual_seed(1))

    def slope(pool: Callable[..., Tensor]) -> Tensor:
        def pooled(given: tuple[Tensor, ...]) -> Tensor:
            assert is_dual(given[0])
            assert not is_dual(x)
            return pool(given[0], *arguments)

        return forward_mode(pooled, (x,), (tangent,))

    assert not is_dual(x)
    assert torch.equal(max_pool(x, *arguments), F.max_pool2d(x, *arguments))
    assert torch.equal(slope(max_pool), slope(F.max_pool2d))
