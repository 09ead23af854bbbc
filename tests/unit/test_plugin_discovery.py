from types import SimpleNamespace
from typing import Literal, final

import pytest

from mplframe.config.base import ComponentConfig
from mplframe.contracts.feedback import FeedbackEstimator, StudentStep
from mplframe.errors import PluginError, UserError
from mplframe.hooks import KINDS, Components, hookimpl
from mplframe.plugins import discover


@final
class Silent(FeedbackEstimator):
    """A third party's estimator."""

    class Config(ComponentConfig):
        """No settings."""

        name: Literal["silent"] = "silent"

    def estimate(self, step: StudentStep) -> None:
        return None


class WithoutConfig(FeedbackEstimator):
    def estimate(self, step: StudentStep) -> None:
        return None


class WithoutEstimate(FeedbackEstimator):
    """Forgets what the contract asks for."""

    class Config(ComponentConfig):
        """No settings."""

        name: Literal["bad"] = "bad"


class WithForeignConfig(WithoutConfig):
    Config = dict  # type: ignore[assignment]


class Good:
    @hookimpl
    def mplframe_feedback(self) -> Components:
        return {"silent": Silent}


def feedbacks(**names: object) -> object:
    """A plugin that registers feedback."""

    class Plugin:
        @hookimpl
        def mplframe_feedback(self) -> Components:
            return names  # type: ignore[return-value]

    return Plugin()


def reason(plugin: object) -> str:
    """Why a plugin is broken; everything else must be as without it."""
    found = discover([("newcomer", plugin)])
    assert found.listing()["components"] == discover().listing()["components"]
    (info,) = [info for info in found.plugins if info.name == "newcomer"]
    return info.reason


def test_a_plugin_brings_its_components() -> None:
    found = discover([("thirdparty", Good())])
    assert found.get("feedback", "silent") is Silent
    assert found.config("feedback", "silent") is Silent.Config
    assert {
        "kind": "feedback",
        "name": "silent",
        "origin": "thirdparty",
        "path": f"{__name__}:Silent",
    } in found.listing("feedback")["components"]


def test_a_plugin_may_be_a_module_like_object() -> None:
    def mplframe_feedback() -> Components:
        return {"silent": Silent}

    found = discover([("module", SimpleNamespace(mplframe_feedback=hookimpl(mplframe_feedback)))])
    assert "silent" in found["feedback"].names()


def test_the_newcomer_is_blamed_for_a_duplicate_and_adds_nothing() -> None:
    assert "plugin 'newcomer' registers the feedback 'dot', which 'mplframe' already has" in reason(
        feedbacks(aaa=Silent, dot=Silent)
    )


def test_of_two_plugins_the_later_is_blamed() -> None:
    found = discover([("one", Good()), ("two", Good())])
    assert {info.name: bool(info.reason) for info in found.plugins}["one"] is False
    assert "which 'one' already has" in next(info.reason for info in found.plugins if info.name == "two")


def test_a_hook_that_fails_is_that_plugins_alone() -> None:
    class Failing:
        @hookimpl
        def mplframe_feedback(self) -> Components:
            raise OSError("license server unreachable")

    assert reason(Failing()) == "OSError: license server unreachable"


def test_a_misspelt_hook_is_noticed() -> None:
    class Misspelt:
        @hookimpl
        def mplframe_feedbak(self) -> Components:
            return {}

    found = reason(Misspelt())
    assert "mplframe_feedbak" in found
    assert "hooks are: mplframe_architecture" in found


def test_a_hook_with_an_argument_that_is_not_there_is_noticed() -> None:
    class Curious:
        @hookimpl
        def mplframe_feedback(self, config: object) -> Components:
            return {}

    assert "config" in reason(Curious())


def test_a_hook_that_returns_no_mapping_is_noticed() -> None:
    class Listing:
        @hookimpl
        def mplframe_feedback(self) -> Components:
            return ["silent"]  # type: ignore[return-value]

    assert reason(Listing()) == "mplframe_feedback returned list, not a mapping of names to classes"


def test_a_broken_plugin_is_listed_with_its_reason() -> None:
    listed = discover([("newcomer", feedbacks(dot=Silent))]).listing()["plugins"]
    assert next(p for p in listed if p["name"] == "newcomer")["broken"]
    assert {"name": "mplframe", "version": "", "entry_point": "", "broken": ""} in listed


def test_an_unknown_name_recalls_the_broken_plugins() -> None:
    found = discover([("newcomer", feedbacks(dot=Silent, mine=Silent))])
    with pytest.raises(
        UserError, match=r"no feedback is named 'mine'.*couldn't be loaded: newcomer \(plugin 'newcomer'"
    ):
        found.get("feedback", "mine")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (int, "doesn't extend mplframe.contracts.feedback:FeedbackEstimator"),
        ("no_such_package:X", "can't be imported"),
        (WithoutConfig, "has no nested Config"),
        (WithForeignConfig, "has no nested Config"),
        (WithoutEstimate, "estimate"),
    ],
)
def test_examining_finds_what_a_component_lacks(target: object, message: str) -> None:
    found = discover([("newcomer", feedbacks(bad=target))])
    (problem,) = found.examine()
    assert problem.startswith("feedback bad: ")
    assert message in problem


@pytest.mark.parametrize("target", [int, "no_such_package:X", WithoutConfig])
def test_a_component_that_cannot_be_used_takes_no_other_down(target: object) -> None:
    found = discover([("newcomer", feedbacks(bad=target, silent=Silent))])
    assert found.get("feedback", "silent") is Silent
    with pytest.raises(PluginError, match="feedback 'bad'"):
        found.config("feedback", "bad")


def test_what_ships_is_sound() -> None:
    assert discover().examine() == []


def test_a_listing_can_be_of_one_kind() -> None:
    kinds = {component["kind"] for component in discover().listing("loss")["components"]}
    assert kinds == {"loss"}
    assert {component["kind"] for component in discover().listing()["components"]} == {kind.kind for kind in KINDS}
