"""Ranges: what is accepted, what is refused before anything runs, and what a trial gets."""

from __future__ import annotations

from typing import Any

import pytest

import mplframe
from mplframe.config.run import RangeConfig, RunConfig
from mplframe.errors import ConfigError
from mplframe.search.parameters import Parameter, declared, parse_range, trial_config

RAW: dict[str, Any] = {
    "data": {"name": "digits"},
    "input": {"size": 8, "channels": 1},
    "method": {
        "name": "uda",
        "steps": 4,
        "student": {"network": {"name": "mlp", "hidden": [8]}, "optimizer": {"name": "sgd", "lr": 0.1}},
    },
}
WEIGHT, LR, OPTIMIZER = "method.losses.1.weight", "method.student.optimizer.lr", "method.student.optimizer"


@pytest.fixture(scope="module")
def base() -> RunConfig:
    return mplframe.from_dict(RAW)


def one(base: RunConfig, key: str, **given: Any) -> Parameter:
    (found,) = declared(base, {key: RangeConfig(**given)})
    return found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give low and high, or choices"),
        ({"low": 1}, "give low and high, or choices"),
        ({"low": 2, "high": 1}, "low must be below high"),
        ({"low": 0, "high": 1, "log": True}, "low above 0"),
        ({"low": 1, "high": 2, "log": True, "step": 1}, "takes no step"),
        ({"low": 1, "high": 2, "choices": [1]}, "choices stand alone"),
    ],
)
def test_ranges_that_say_nothing_are_refused_with_their_path(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"sweep\.ranges\.{WEIGHT}: .*{message}"):
        mplframe.from_dict({**RAW, "sweep": {"ranges": {WEIGHT: given}}})


def test_a_typing_error_in_a_range_is_named() -> None:
    with pytest.raises(ConfigError, match=r"sweep\.ranges\.method\.steps\.hihg: unknown key; did you mean 'high'"):
        mplframe.from_dict({**RAW, "sweep": {"ranges": {"method.steps": {"low": 1, "hihg": 2}}}})


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [
        ("method.losses.1.wieght", {"low": 1, "high": 2}, "did you mean 'method.losses.1.weight'"),
        ("method.losses.2.weight", {"low": 1, "high": 2}, "did you mean 'method.losses.1.weight'"),
        ("sweep.trials", {"low": 1, "high": 2}, "has no 'sweep.trials'"),
        ("evaluation.batch_size", {"low": 1, "high": 2}, "can't be searched"),
        (WEIGHT, {"low": -1, "high": 2}, r"weight=-1 isn't valid:\n.*greater than or equal to 0, got -1"),
        (OPTIMIZER, {"choices": ["sgd", "adma"]}, "did you mean 'adam'"),
        ("method.name", {"low": 1, "high": 2}, "isn't a number; give choices"),
        ("method.steps", {"low": 1.5, "high": 2}, "takes whole numbers"),
    ],
)
def test_a_key_or_value_that_cannot_be_is_refused(
    base: RunConfig, key: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        one(base, key, **given)


def test_a_sweep_without_ranges_is_refused(base: RunConfig) -> None:
    with pytest.raises(ConfigError, match="--range KEY=LOW:HIGH"):
        declared(base, {})


def test_the_setting_says_whether_numbers_are_whole(base: RunConfig) -> None:
    assert one(base, "method.steps", low=2, high=8).integer
    assert not one(base, WEIGHT, low=1, high=10).integer
    # Nothing is set there now: a step says it.
    assert not one(base, "method.student.clip", low=1, high=10).integer
    assert one(base, "method.student.clip", low=1, high=10, step=1).integer


def test_values_are_laid_on_what_the_file_left_out(base: RunConfig) -> None:
    changed = trial_config(base, {WEIGHT: 2.5, LR: 1e-5}).dump()
    assert changed["method"]["losses"][1] == {**base.dump()["method"]["losses"][1], "weight": 2.5}
    assert changed["method"]["student"]["optimizer"]["lr"] == 1e-5
    assert base.dump()["method"]["losses"][1]["weight"] == 1.0


def test_a_choice_of_components_comes_before_what_is_within_them(base: RunConfig) -> None:
    adam = {"name": "adam", "lr": 0.2}
    ranges = {LR: RangeConfig(low=0.1, high=1.0), OPTIMIZER: RangeConfig(choices=("sgd", adam))}
    inner, outer = reversed(declared(base, ranges))
    assert (outer.key, inner.key) == (OPTIMIZER, LR)
    label = outer.labels[1]
    assert label == '{"name": "adam", "lr": 0.2}'
    changed = trial_config(base, {outer.key: outer.value(label), inner.key: 0.3}).dump()
    optimizer = changed["method"]["student"]["optimizer"]
    assert (optimizer["name"], optimizer["lr"]) == ("adam", 0.3)


def test_a_grid_needs_an_end(base: RunConfig) -> None:
    assert one(base, "method.steps", low=2, high=5).grid == [2, 3, 4, 5]
    assert one(base, WEIGHT, low=0.1, high=0.4, step=0.1).grid == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert one(base, WEIGHT, choices=[1, 4]).grid == [1, 4]
    with pytest.raises(ConfigError, match="a grid needs choices"):
        _ = one(base, WEIGHT, low=0.1, high=0.4).grid


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b=1:10", {"low": 1, "high": 10}),
        ("a.b=1e-5:0.1:log", {"low": 1e-5, "high": 0.1, "log": True}),
        ("a.b=[sgd, 3]", {"choices": ("sgd", 3)}),
    ],
)
def test_a_range_of_the_command_line(text: str, expected: dict[str, Any]) -> None:
    assert parse_range(text) == ("a.b", RangeConfig(**expected))


@pytest.mark.parametrize("text", ["a.b", "a.b=3", "a.b=1:2:lin", "=1:2", "a.b=5:2", "a.b=x:y", "a.b=[]"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="KEY=LOW:HIGH"):
        parse_range(text)
