import copy
from typing import Literal, final

import pytest
import torch
from learner_support import batch, equal, farthest, learner, normed, plain, snapshot
from torch import nn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.optimizer import Schedule
from mplframe.optim.groups import parameter_groups
from mplframe.training.learner import Learner
from mplframe.training.network import Network


@final
class Halving(Schedule):
    """Half as much in each step."""

    class Config(ComponentConfig):
        """No settings."""

        name: Literal["halving"] = "halving"

    def at(self, step: int, steps: int) -> float:
        return 0.5**step


def gradient_of(one: Learner, seed: int = 0) -> tuple[torch.Tensor, ...]:
    one.module(batch(seed).labeled.weak).square().sum().backward()
    return one.take_gradient()


def test_taking_the_gradient_empties_it() -> None:
    one = learner(plain(1))
    gradient = gradient_of(one)
    assert all(p.grad is None for p in one.parameters)
    assert [g.shape for g in gradient] == [p.shape for p in one.parameters]
    assert all(float(g.abs().max()) > 0 for g in gradient)


def test_parameters_that_took_no_part_have_a_gradient_of_zeros() -> None:
    one = learner(plain(1))
    one.module[1](batch().labeled.weak.flatten(1)).sum().backward()  # type: ignore[index]
    gradient = one.take_gradient()
    assert [bool(g.any()) for g in gradient] == [True, True, False, False]


def test_a_step_is_the_optimizers() -> None:
    one, module = learner(normed(1)), normed(1)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    for seed in range(3):
        one.apply(gradient_of(one, seed))
        optimizer.zero_grad()
        module(batch(seed).labeled.weak).square().sum().backward()
        optimizer.step()
    assert equal(snapshot(one.module), snapshot(module))


@pytest.mark.parametrize("clip", [1e-3, 0.5, 1e9])
def test_a_gradient_is_clipped_as_a_whole(clip: float) -> None:
    one = learner(plain(1), clip=clip)
    gradient = gradient_of(one)
    reference = [nn.Parameter(torch.zeros_like(g)) for g in gradient]
    for parameter, g in zip(reference, gradient, strict=True):
        parameter.grad = g.clone()
    norm = nn.utils.clip_grad_norm_(reference, clip)
    clipped = one.clipped(gradient)
    assert torch.cat([g.flatten() for g in clipped]).norm().item() == pytest.approx(min(clip, norm.item()), rel=1e-6)
    # torch adds 1e-6 to the norm.
    torch.testing.assert_close(list(clipped), [p.grad for p in reference], rtol=1e-5, atol=0)


def test_clipping_a_gradient_of_zeros_leaves_zeros() -> None:
    one = learner(plain(1), clip=0.5)
    assert farthest(one.clipped(tuple(torch.zeros_like(p) for p in one.parameters)), [torch.zeros(())] * 4) == 0.0


def test_the_average_of_the_weights_in_closed_form() -> None:
    """`d^k w_0 + (1 - d) sum_i d^(k - i) w_i`."""
    decay, one = 0.8, learner(plain(1), ema=0.8, ema_warmup=False)
    history = [snapshot(one.module)]
    for seed in range(6):
        one.apply(gradient_of(one, seed))
        history.append(snapshot(one.module))
    averaged = one.evaluated("ema").state_dict()
    for name, value in averaged.items():
        terms = [(1 - decay) * decay ** (6 - i) * history[i][name] for i in range(1, 7)]
        torch.testing.assert_close(
            value, decay**6 * history[0][name] + torch.stack(terms).sum(0), rtol=1e-12, atol=1e-14
        )


def test_the_average_follows_batch_statistics() -> None:
    one = learner(normed(1), ema=0.5, ema_warmup=False)
    start = snapshot(one.module)["1.running_mean"]
    one.apply(gradient_of(one))
    average = one.evaluated("ema")
    torch.testing.assert_close(
        average.state_dict()["1.running_mean"], (start + snapshot(one.module)["1.running_mean"]) / 2
    )
    assert not average.training


def test_which_weights_are_evaluated() -> None:
    with_average, without = learner(plain(1), ema=0.9), learner(plain(1))
    assert with_average.evaluated("raw") is with_average.module
    assert with_average.evaluated("ema") is not with_average.module
    assert without.evaluated("ema") is without.module


def test_the_schedule_scales_each_groups_peak() -> None:
    module = plain(1)
    first, *others = module.parameters()
    groups = [{"params": [first], "lr": 0.4}, {"params": others, "lr": 0.1}]
    one = Learner(module, torch.optim.SGD(groups, lr=1.0), schedule=Halving(), steps=10)
    for step in (0, 3, 1):
        assert one.set_rate(step) == 0.4 * 0.5**step
        assert [group["lr"] for group in one.optimizer.param_groups] == [0.4 * 0.5**step, 0.1 * 0.5**step]


def test_the_schedule_goes_on_after_a_resume() -> None:
    first = Learner(module := plain(1), torch.optim.SGD(module.parameters(), lr=0.4), schedule=Halving(), steps=10)
    first.set_rate(3)
    second = Learner(module := plain(2), torch.optim.SGD(module.parameters(), lr=0.4), schedule=Halving(), steps=10)
    second.load_state_dict(first.state_dict())
    assert second.set_rate(4) == 0.4 * 0.5**4


def test_only_weights_decay() -> None:
    module = normed(1)
    for p in module.parameters():
        nn.init.ones_(p)
    one = Learner(module, torch.optim.SGD(parameter_groups(module, 0.5), lr=0.1))
    one.apply(tuple(torch.zeros_like(p) for p in one.parameters))
    for name, p in module.named_parameters():
        assert p.flatten()[0].item() == pytest.approx(0.95 if p.ndim > 1 else 1.0), name


def test_gradients_keep_to_their_parameters_when_groups_reorder_them() -> None:
    grouped, straight = plain(1), plain(1)
    one = Learner(grouped, torch.optim.SGD(parameter_groups(grouped, 0.0), lr=0.1))
    two = Learner(straight, torch.optim.SGD(straight.parameters(), lr=0.1))
    for each in (one, two):
        each.apply(gradient_of(each))
    assert equal(snapshot(grouped), snapshot(straight))


def test_a_saved_learner_goes_on_as_if_nothing_had_happened() -> None:
    first, second = learner(normed(1), ema=0.9), learner(normed(2), ema=0.9)
    first.apply(gradient_of(first))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for seed in (1, 2):
        for one in (first, second):
            one.apply(gradient_of(one, seed))
    assert equal(snapshot(first.module), snapshot(second.module))
    assert equal(snapshot(first.evaluated("ema")), snapshot(second.evaluated("ema")))


def test_starting_from_weights_moves_the_average_too() -> None:
    one, weights = learner(normed(1), ema=0.9), snapshot(normed(2))
    one.start_from(weights)
    assert equal(snapshot(one.module), weights)
    assert equal(snapshot(one.evaluated("ema")), weights)


def test_the_network_normalises_pixels_and_leaves_floats_alone() -> None:
    network = Network(nn.Identity(), mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    pixels = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    shift, scale = (torch.tensor(v).view(3, 1, 1) for v in ([0.5, 0.25, 0.0], [0.5, 0.25, 1.0]))
    torch.testing.assert_close(network(pixels), (pixels / 255.0 - shift) / scale)
    floats = torch.randn(2, 3, 4, 4)
    assert torch.equal(network(floats), floats)
    assert network.state_dict() == {}
