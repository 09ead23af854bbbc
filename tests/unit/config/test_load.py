from pathlib import Path
from typing import Any

import pytest

from mplframe.config.load import merge, read
from mplframe.errors import ConfigError


def written(folder: Path, text: str, name: str = "run.yaml") -> Path:
    """A config file."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_laid_on_its_base(tmp_path: Path) -> None:
    written(tmp_path, "seed: 1\nmethod: {name: mpl, steps: 10}\nout: a\n", "base.yaml")
    (tmp_path / "deep").mkdir()
    written(tmp_path, "base: ../base.yaml\nmethod: {steps: 20}\n", "deep/middle.yaml")
    top = written(tmp_path, "base: deep/middle.yaml\nout: b\n")
    assert read(top) == {"seed": 1, "method": {"name": "mpl", "steps": 20}, "out": "b"}


@pytest.mark.parametrize("length", [1, 2, 3])
def test_bases_in_a_circle_are_refused(tmp_path: Path, length: int) -> None:
    for i in range(length):
        written(tmp_path, f"base: {(i + 1) % length}.yaml\n", f"{i}.yaml")
    with pytest.raises(ConfigError, match="circle"):
        read(tmp_path / "0.yaml")


def test_two_files_may_share_a_base(tmp_path: Path) -> None:
    written(tmp_path, "seed: 1\n", "root.yaml")
    written(tmp_path, "base: root.yaml\nout: a\n", "a.yaml")
    assert read(written(tmp_path, "base: a.yaml\n")) == {"seed": 1, "out": "a"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a mapping"),
        ("- 1", "not a mapping"),
        ("3", "not a mapping"),
        ("base: nowhere.yaml", "no config file at"),
    ],
)
def test_files_that_are_no_config_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(written(tmp_path, text))


def test_paths_that_are_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no config file at"):
        read(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="can't read"):
        read(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"out: caf\xe9\n")
    with pytest.raises(ConfigError, match="can't read"):
        read(tmp_path / "latin.yaml")


PROFILES = "seed: 1\nmethod: {name: mpl, steps: 10}\nprofiles:\n  smoke: {method: {steps: 2}}\n  full: {seed: 5}\n"


def test_a_profile_is_laid_on_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, PROFILES)
    assert read(path) == {"seed": 1, "method": {"name": "mpl", "steps": 10}}
    smoke = {"seed": 1, "method": {"name": "mpl", "steps": 2}}
    assert read(path, profile="smoke") == smoke
    assert read(path, overrides=["profile=smoke"]) == smoke
    assert read(path, profile="full", overrides=["profile=smoke"]) == {**smoke, "seed": 5}


def test_an_override_wins_over_a_profile(tmp_path: Path) -> None:
    assert read(written(tmp_path, PROFILES), profile="smoke", overrides=["method.steps=7"])["method"]["steps"] == 7


def test_profiles_of_a_base_can_be_chosen(tmp_path: Path) -> None:
    written(tmp_path, PROFILES, "base.yaml")
    assert read(written(tmp_path, "base: base.yaml\nseed: 9\n"), profile="smoke")["method"]["steps"] == 2


def test_an_unknown_profile_is_named_beside_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no profile 'smok'; did you mean 'smoke'\? \(it has: smoke, full\)"):
        read(written(tmp_path, PROFILES), profile="smok")


def test_null_takes_away_a_profile_of_the_base(tmp_path: Path) -> None:
    written(tmp_path, PROFILES, "base.yaml")
    top = written(tmp_path, "base: base.yaml\nprofiles: {smoke: null}\n")
    with pytest.raises(ConfigError, match=r"has no profile 'smoke' \(it has: full\)"):
        read(top, profile="smoke")


@pytest.mark.parametrize(
    "text", ["profiles: [smoke]", "profiles: smoke", "profiles: {smoke: 3}", "profiles: {smoke: [a]}"]
)
def test_profiles_that_are_no_mappings_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="profile"):
        read(written(tmp_path, text), profile="smoke")


def overridden(folder: Path, text: str, *overrides: str) -> dict[str, Any]:
    return read(written(folder, text), overrides=overrides)


@pytest.mark.parametrize(
    ("text", "override", "result"),
    [
        ("a: 1", "a=2", {"a": 2}),
        ("a: {b: {c: 1, d: 2}}", "a.b.c=1e-5", {"a": {"b": {"c": 1e-5, "d": 2}}}),
        ("a: 1", "b.c=off", {"a": 1, "b": {"c": "off"}}),
        ("a: null", "a.b=1", {"a": {"b": 1}}),
        ("a: [1, {b: 2}]", "a.1.b=3", {"a": [1, {"b": 3}]}),
        ("a: [1, 2]", "a.0=[7, 8]", {"a": [[7, 8], 2]}),
        ("a: 1", "a=", {"a": None}),
        ("a: 1", "a={b: x=y}", {"a": {"b": "x=y"}}),
        ("feedback: {name: baseline}", "feedback=cosine", {"feedback": "cosine"}),
    ],
)
def test_overrides(tmp_path: Path, text: str, override: str, result: dict[str, Any]) -> None:
    assert overridden(tmp_path, text, override) == result


@pytest.mark.parametrize(
    ("text", "override", "result"),
    [
        ("feedback: cosine", "feedback.epsilon=1e-5", {"feedback": {"name": "cosine", "epsilon": 1e-5}}),
        ("losses: [supervised, uda]", "losses.1.weight=2", {"losses": ["supervised", {"name": "uda", "weight": 2}]}),
        (
            "feedback: baseline",
            "feedback.inner.epsilon=2",
            {"feedback": {"name": "baseline", "inner": {"epsilon": 2}}},
        ),
    ],
)
def test_overrides_lead_into_components_given_by_name_alone(
    tmp_path: Path, text: str, override: str, result: dict[str, Any]
) -> None:
    assert overridden(tmp_path, text, override) == result


def test_the_last_override_wins(tmp_path: Path) -> None:
    assert overridden(tmp_path, "a: 1", "a=2", "a=3") == {"a": 3}


@pytest.mark.parametrize("override", ["a", "=1", "a.=1", ".a=1", "a..b=1", ""])
def test_overrides_without_key_or_value_are_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        overridden(tmp_path, "a: 1", override)


@pytest.mark.parametrize("override", ["a.2=1", "a.-1=1", "a.x=1", "a.x.y=1", "a.²=1", "a.0.b=1", "a=[1"])
def test_overrides_that_lead_nowhere_are_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match="--set a"):
        overridden(tmp_path, "a: [1, 2]", override)


def test_reading_changes_no_file_and_no_argument(tmp_path: Path) -> None:
    base, over = {"a": {"b": 1}, "c": [1]}, {"a": {"d": 2}}
    assert merge(base, over) == {"a": {"b": 1, "d": 2}, "c": [1]}
    assert (base, over) == ({"a": {"b": 1}, "c": [1]}, {"a": {"d": 2}})


def test_another_component_replaces_the_one_below_whole() -> None:
    below = {"feedback": {"name": "baseline", "decay": 0.9}}
    assert merge(below, {"feedback": {"name": "cosine"}}) == {"feedback": {"name": "cosine"}}
    assert merge(below, {"feedback": {"name": "baseline", "inner": "dot"}})["feedback"]["decay"] == 0.9
    assert merge(below, {"feedback": {"decay": 0.5}}) == {"feedback": {"name": "baseline", "decay": 0.5}}
