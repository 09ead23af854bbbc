import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mplframe.contracts.optimizer import Schedule
from mplframe.errors import UserError
from mplframe.optim.schedules import Constant, Cosine, EqualSteps, Exponential, Milestones

SCHEDULES = (Constant, Cosine, EqualSteps, Exponential, Milestones)


def rates(schedule: Schedule, steps: int) -> list[float]:
    return [schedule.at(step, steps) for step in range(steps)]


def torchs(make: type, steps: int, **settings: float) -> list[float]:
    """The learning rates that torch's own scheduler gives."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    scheduler = make(optimizer, **settings)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_constant_stays() -> None:
    assert rates(Constant(), 5) == [1.0] * 5


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_cosine_is_torchs_cosine(final: float) -> None:
    expected = torchs(torch.optim.lr_scheduler.CosineAnnealingLR, 50, T_max=50, eta_min=final)
    assert rates(Cosine(Cosine.Config(final=final)), 50) == pytest.approx(expected)


def test_cosine_after_warmup_is_a_shorter_cosine() -> None:
    warmed = Cosine(Cosine.Config(warmup=10, final=0.2))
    assert rates(warmed, 40)[10:] == pytest.approx(rates(Cosine(Cosine.Config(final=0.2)), 30))


def test_cosine_passes_its_middle_and_ends_beside_its_final_rate() -> None:
    schedule = Cosine(Cosine.Config(warmup=100))
    assert schedule.at(100, 1100) == 1.0
    assert schedule.at(600, 1100) == pytest.approx(0.5)
    assert 0.0 < schedule.at(1099, 1100) < 1e-5
    assert schedule.at(1100, 1100) == pytest.approx(0.0)


def test_exponential_staircase_is_torchs_step() -> None:
    expected = torchs(torch.optim.lr_scheduler.StepLR, 40, step_size=7, gamma=0.9)
    assert rates(Exponential(Exponential.Config(rate=0.9, every=7)), 40) == pytest.approx(expected)


def test_smooth_exponential_is_torchs_exponential() -> None:
    expected = torchs(torch.optim.lr_scheduler.ExponentialLR, 40, gamma=0.9 ** (1 / 7))
    assert rates(Exponential(Exponential.Config(rate=0.9, every=7, staircase=False)), 40) == pytest.approx(expected)


def test_exponential_counts_from_the_end_of_the_warmup() -> None:
    warmed = Exponential(Exponential.Config(rate=0.5, every=3, warmup=4))
    assert rates(warmed, 11) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25]


def test_default_decay_is_noisy_students() -> None:
    config = Exponential.Config()
    assert (config.rate, config.every) == (0.97, round(2.4 * 1_281_167 / 2048))


def test_thirteen_equal_halvings() -> None:
    found = rates(EqualSteps(), 1300)
    assert found == [2.0 ** -(step // 100) for step in range(1300)]


def test_pre_training_of_billion_scale() -> None:
    # Section 4.1: a billion images, 1,536 a step; a warm-up from 0.1 to 0.6, here of 5 epochs of ImageNet.
    steps, warmup, peak = 10**9 // 1536, 5 * 1_281_167 // 1536, 0.1 * 1536 / 256
    schedule = EqualSteps(EqualSteps.Config(warmup=warmup, warmup_from=256 / 1536))
    assert peak * schedule.at(0, steps) == pytest.approx(0.1 + 0.5 / warmup)
    assert peak * schedule.at(warmup // 2, steps) == pytest.approx(0.35, rel=1e-3)
    assert peak * schedule.at(warmup, steps) == pytest.approx(0.6)
    assert peak * schedule.at(steps - 1, steps) == pytest.approx(0.6 / 2**12)
    drops = [s for s in range(warmup, steps) if schedule.at(s, steps) < schedule.at(s - 1, steps)]
    assert drops == [warmup + math.ceil((steps - warmup) * part / 13) for part in range(1, 13)]


@pytest.mark.parametrize(("count", "factor", "steps"), [(3, 0.1, 90), (3, 0.1, 100), (7, 0.5, 13), (13, 0.5, 4)])
def test_equal_steps_are_equal_to_a_step(count: int, factor: float, steps: int) -> None:
    found = rates(EqualSteps(EqualSteps.Config(count=count, factor=factor)), steps)
    assert found == [factor ** math.floor(count * step / steps) for step in range(steps)]
    lengths = [found.count(rate) for rate in set(found)]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("at", [(7, 20, 33), (7 / 40, 0.5, 33 / 40)])
def test_milestones_are_torchs_in_steps_or_fractions(at: tuple[float, ...]) -> None:
    expected = torchs(torch.optim.lr_scheduler.MultiStepLR, 40, milestones=[7, 20, 33], gamma=0.2)
    assert rates(Milestones(Milestones.Config(at=at, factor=0.2)), 40) == pytest.approx(expected)


def test_milestones_count_from_the_start_of_the_stage() -> None:
    found = rates(Milestones(Milestones.Config(warmup=2, at=(4,), factor=0.5)), 6)
    assert found == [0.5, 1.0, 1.0, 1.0, 0.5, 0.5]


def test_a_milestone_that_is_never_reached_is_refused() -> None:
    with pytest.raises(UserError, match="milestone 10 is beyond the 10 steps of the stage; set it below 10"):
        Milestones(Milestones.Config(at=(5, 10))).at(0, 10)


@pytest.mark.parametrize("cls", SCHEDULES)
@given(warmup=st.integers(1, 30), start=st.floats(0.0, 0.99))
def test_a_warmup_rises_from_where_it_is_told(cls: type[Schedule], warmup: int, start: float) -> None:
    found = rates(cls(cls.Config(warmup=warmup, warmup_from=start)), 200)
    line = [start + (1.0 - start) * (step + 1) / warmup for step in range(warmup)]
    assert found[:warmup] == pytest.approx(line, rel=1e-12)
    assert found[warmup] == 1.0


@pytest.mark.parametrize("cls", SCHEDULES)
@given(warmup=st.integers(0, 30), extra=st.integers(91, 200))
def test_it_rises_linearly_from_above_zero_then_never_rises_again(cls: type[Schedule], warmup: int, extra: int) -> None:
    found = rates(cls(cls.Config(warmup=warmup)), warmup + extra)
    assert all(0.0 < rate <= 1.0 for rate in found)
    assert found[:warmup] == [(step + 1) / warmup for step in range(warmup)]
    assert found[warmup] == 1.0
    assert all(a >= b for a, b in zip(found[warmup:], found[warmup + 1 :], strict=False))


@pytest.mark.parametrize("cls", SCHEDULES)
@pytest.mark.parametrize("warmup", [10, 11])
def test_a_warmup_without_end_is_refused(cls: type[Schedule], warmup: int) -> None:
    with pytest.raises(UserError, match=rf"warmup is {warmup} steps, but the stage has only 10"):
        cls(cls.Config(warmup=warmup)).at(0, 10)


@pytest.mark.parametrize("cls", SCHEDULES)
def test_a_stage_of_one_step_trains_at_the_full_rate(cls: type[Schedule]) -> None:
    assert cls().at(0, 1) == 1.0


@pytest.mark.parametrize(
    ("config", "bad"),
    [
        (Constant.Config, {"warmup": -1}),
        (Constant.Config, {"warmup_from": 1.0}),
        (Cosine.Config, {"final": 1.5}),
        (EqualSteps.Config, {"count": 0}),
        (EqualSteps.Config, {"factor": 1.5}),
        (Exponential.Config, {"rate": 0.0}),
        (Exponential.Config, {"every": 0}),
        (Milestones.Config, {"at": (5, 5)}),
        (Milestones.Config, {"at": (0.5, 100)}),
        (Milestones.Config, {"at": (0,)}),
    ],
)
def test_bad_settings_are_refused(config: type, bad: dict) -> None:
    with pytest.raises(ValidationError):
        config(**bad)


def test_rates_are_exact_over_a_million_steps() -> None:
    schedule = Cosine(Cosine.Config(warmup=2_000))
    step = 750_000
    expected = 0.5 * (1 + math.cos(math.pi * (step - 2_000) / 998_000))
    assert schedule.at(step, 1_000_000) == pytest.approx(expected, rel=1e-12)
