"""The example plugin runs by name, beside a broken twin that takes nothing down with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mplframe.builtins import mplframe_feedback
from mplframe.errors import PluginError, UserError
from mplframe.plugins import Components, discover

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "plugins" / "mplframe-example"
BROUGHT = {
    ("architecture", "conv_mixer"),
    ("backend", "double"),
    ("dataset", "digits_parity"),
    ("feedback", "sign"),
    ("loss", "entropy_minimisation"),
}
REASONS = {
    "raises at import": "RuntimeError: libbroken.so",
    "misspelt hook": "unknown hook 'mplframe_feedbak'",
    "taken name": "registers the feedback 'cosine', which 'mplframe' already has",
}


@pytest.fixture
def found(installed_plugins: Path, monkeypatch: pytest.MonkeyPatch) -> Components:
    """Discovered in this process."""
    monkeypatch.syspath_prepend(installed_plugins)
    return discover()


@pytest.fixture(scope="module")
def listing(mplframe: Callable[..., Any]) -> dict[str, Any]:
    done = mplframe("plugins", "list", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_example_brings_five_components(listing: dict[str, Any]) -> None:
    brought = {(c["kind"], c["name"]) for c in listing["components"] if c["origin"] == "mplframe-example"}
    assert brought == BROUGHT
    assert [p["broken"] for p in listing["plugins"] if p["name"] == "mplframe-example"] == [""]


@pytest.mark.parametrize("fault", REASONS)
def test_a_broken_plugin_is_listed_with_the_reason(listing: dict[str, Any], fault: str) -> None:
    reasons = [p["broken"] for p in listing["plugins"] if p["name"] == "mplframe-broken"]
    assert sum(REASONS[fault] in reason for reason in reasons) == 1, reasons


def test_a_broken_plugin_leaves_nothing_behind(listing: dict[str, Any]) -> None:
    """The plugin that takes a taken name also registers a free one: neither is kept."""
    kept = [c["name"] for c in listing["components"] if c["origin"] == "mplframe-broken"]
    assert kept == ["a_missing_one", "missing"]
    cosine = [c["path"] for c in listing["components"] if (c["kind"], c["name"]) == ("feedback", "cosine")]
    assert cosine == [mplframe_feedback()["cosine"]]


def test_help_works_beside_a_broken_plugin(mplframe: Callable[..., Any]) -> None:
    done = mplframe("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "plugins" in done.stdout


def test_doctor_names_every_fault_of_the_broken_plugin_and_no_other(mplframe: Callable[..., Any]) -> None:
    done = mplframe("plugins", "doctor", "--json")
    problems = json.loads(done.stdout)["problems"]
    assert done.returncode == 2
    assert len(problems) == 5
    assert all("mplframe-broken" in problem for problem in problems)
    for reason in REASONS.values():
        assert sum(reason in problem for problem in problems) == 1
    assert sum("No module named 'mplframe_broken.nowhere'" in problem for problem in problems) == 2


@pytest.mark.integration
def test_the_example_runs_by_name_beside_a_broken_plugin(mplframe: Callable[..., Any], tmp_path: Path) -> None:
    config = yaml.safe_load((EXAMPLE / "example.yaml").read_text())
    used = json.dumps(config)
    assert all(f'"{name}"' in used for _, name in BROUGHT)
    done = mplframe("run", EXAMPLE / "example.yaml", "--out", tmp_path / "run", "--set", "method.steps=10", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert 0.0 <= summary["final"]["top1"] <= 1.0
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["classes"] == ["even", "odd"]
    assert manifest["backend"] == {"name": "double", "world": 1, "device": "cpu", "precision": "fp64"}
    assert sum(bool(plugin["broken"]) for plugin in manifest["plugins"]) == 3


def test_a_config_that_needs_a_broken_plugin_is_told_the_reason(found: Components) -> None:
    with pytest.raises(UserError, match=r"no feedback is named 'never_heard'.*mplframe-broken \(unknown hook"):
        found.config("feedback", "never_heard")
    with pytest.raises(PluginError, match="'missing' of plugin 'mplframe-broken' can't be imported"):
        found.config("loss", "missing")
