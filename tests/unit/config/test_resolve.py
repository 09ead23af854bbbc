from typing import Any

import pytest
from config_support import BaselineConfig, CosineConfig, MPLConfig, Small, SupervisedConfig, lookup, small

from mplframe.config.resolve import resolve
from mplframe.errors import ConfigError


def problems(**raw: Any) -> list[str]:
    """The lines that name a problem."""
    with pytest.raises(ConfigError) as caught:
        small(**raw)
    first, *lines = str(caught.value).splitlines()
    assert first == "the configuration isn't valid:"
    return [line.strip() for line in lines]


def test_a_component_gets_its_own_config_at_every_depth() -> None:
    config = small(
        method={
            "name": "mpl",
            "steps": 3,
            "feedback": {"name": "baseline", "inner": {"name": "cosine", "epsilon": 0.5}},
        }
    )
    assert config.method == MPLConfig(steps=3, feedback=BaselineConfig(inner=CosineConfig(epsilon=0.5)))
    assert type(config.method.feedback.inner) is CosineConfig


def test_a_name_alone_stands_for_a_component_with_its_defaults() -> None:
    config = small(method={"name": "mpl", "steps": 3, "feedback": "cosine", "losses": ["supervised"]})
    assert config.method.feedback == CosineConfig()
    assert config.method.losses == (SupervisedConfig(),)


def test_defaults_are_resolved_like_what_was_written() -> None:
    config = small()
    assert type(config.method.feedback) is BaselineConfig
    assert type(config.method.feedback.inner) is CosineConfig


def test_components_in_the_default_of_a_group_of_settings_are_resolved() -> None:
    assert type(small().evaluation.losses[0]) is SupervisedConfig
    assert type(small(evaluation={"every": 3}).evaluation.losses[0]) is SupervisedConfig
    assert small() == small(evaluation={})


def test_null_stays_null() -> None:
    assert small(other=None).other is None
    assert small(other="cosine").other == CosineConfig()


def test_an_unknown_key_is_named_with_its_nearest_spelling_and_what_is_allowed() -> None:
    (problem,) = problems(log_evry=3)
    assert problem.startswith("log_evry: unknown key; did you mean 'log_every'?")
    assert "baselines, evaluation, high, log_every, low, method, other" in problem


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"method": {"name": "mpl", "steps": 3,
                     "feedback": {"name": "baseline", "inner": {"name": "cosine", "decay": 1}}}},
         "method.feedback.inner.decay: unknown key"),
        ({"method": {"name": "mpl", "steps": 3, "feedback": {"name": "baseline", "decay": 1.0}}},
         "method.feedback.decay: input should be less than 1, got 1.0"),
        ({"method": {"name": "mpl", "steps": 3, "losses": ["supervised", {"name": "supervised", "wieght": 2}]}},
         "method.losses.1.wieght: unknown key; did you mean 'weight'?"),
        ({"baselines": [{"name": "mpl", "steps": 3}, {"name": "mpl", "steps": 0}]},
         "baselines.1.steps: input should be greater than 0, got 0"),
        ({"method": {"name": "mpl"}}, "method.steps: is required and not set"),
        ({"method": {"name": "mlp", "steps": 3}}, "method.name: no method is named 'mlp'; did you mean 'mpl'?"),
        ({"evaluation": {"evry": 3}}, "evaluation.evry: unknown key; did you mean 'every'?"),
        ({"evaluation": 3}, "evaluation: expected a mapping of settings, got 3"),
        ({"low": 2.0}, "low = 2.0 is above high = 1.0"),
    ],
)  # fmt: skip
def test_a_problem_carries_its_whole_path(raw: dict[str, Any], path: str) -> None:
    (problem,) = problems(**raw)
    assert problem.startswith(path)


@pytest.mark.parametrize("value", [{"epsilon": 1}, 7, None, {"name": 7}, [["cosine"]]])
def test_what_names_no_component_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"method(\.0)?: "):
        resolve(Small, {"method": value}, lookup)


def test_several_problems_are_reported_together() -> None:
    found = problems(
        method={"name": "mpl", "steps": -1, "feedback": {"name": "cosine", "epsilon": 0}},
        baselines=["mpl"],
        evaluation={"every": -1},
        colour="red",
    )
    assert {problem.partition(":")[0] for problem in found} >= {
        "method.feedback.epsilon",
        "baselines.0.steps",
        "evaluation.every",
        "colour",
    }


def test_a_problem_below_hides_none_above() -> None:
    found = problems(method="nope", log_every=-1)
    assert {problem.partition(":")[0] for problem in found} == {"method.name", "log_every"}


def test_a_config_that_is_already_resolved_stays_as_it_is() -> None:
    config = small(method=MPLConfig(steps=5, feedback=CosineConfig(epsilon=0.25)))
    assert config.method == MPLConfig(steps=5, feedback=CosineConfig(epsilon=0.25))


def test_resolved_configs_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        small().log_every = 3


def test_the_missing_whole_is_reported_by_its_required_keys() -> None:
    with pytest.raises(ConfigError, match="method: is required and not set"):
        resolve(Small, {}, lookup)
