import pytest

from mplframe.contracts.feedback import FeedbackEstimator
from mplframe.errors import PluginError, UserError
from mplframe.feedback.cosine import Cosine
from mplframe.feedback.dot import Dot
from mplframe.plugins import Registry

CONTRACT = "mplframe.contracts.feedback:FeedbackEstimator"


def registry(**targets: type | str) -> Registry[FeedbackEstimator]:
    """Feedbacks of the plugin `first`."""
    made: Registry[FeedbackEstimator] = Registry("feedback", CONTRACT)
    for name, target in targets.items():
        made.register(name, target, origin="first")
    return made


def test_a_name_leads_to_a_class_given_or_to_import() -> None:
    found = registry(given=Cosine, imported="mplframe.feedback.dot:Dot")
    assert found.get("given") is Cosine
    assert found.get("imported") is Dot


def test_entries_come_sorted_with_path_and_origin() -> None:
    found = list(registry(z=Cosine, a="mplframe.feedback.dot:Dot"))
    assert [(e.name, e.path, e.origin) for e in found] == [
        ("a", "mplframe.feedback.dot:Dot", "first"),
        ("z", "mplframe.feedback.cosine:Cosine", "first"),
    ]


def test_the_newcomer_is_to_blame_for_a_name_taken_twice() -> None:
    found = registry(dot=Dot)
    with pytest.raises(PluginError, match=r"plugin 'second' registers the feedback 'dot', which 'first' already has"):
        found.register("dot", Cosine, origin="second")
    assert found.get("dot") is Dot


def test_an_unknown_name_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(
        UserError, match=r"no feedback is named 'cosin'; did you mean 'cosine'\? \(installed: cosine, dot;"
    ):
        registry(dot=Dot, cosine=Cosine).get("cosin")


def test_a_name_can_be_forgotten_and_taken_again() -> None:
    found = registry(dot=Dot)
    found.forget("dot")
    found.register("dot", Cosine, origin="second")
    assert found.get("dot") is Cosine


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_package.x:Y", "ModuleNotFoundError"),
        ("mplframe.feedback.dot:Nothing", "AttributeError"),
        ("mplframe.feedback.dot", "AttributeError"),
        ("mplframe.feedback.dot:dot", "doesn't extend mplframe.contracts.feedback:FeedbackEstimator"),
        (int, "doesn't extend mplframe.contracts.feedback:FeedbackEstimator"),
        (FeedbackEstimator, "lacks what its contract asks for: estimate"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_owner(target: type | str, reason: str) -> None:
    with pytest.raises(PluginError, match=f"feedback 'bad' of plugin 'first'.*{reason}"):
        registry(bad=target).get("bad")


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    found = registry(bad="no_such_package.x:Y", dot=Dot)
    assert found.names() == ["bad", "dot"]
    assert found.get("dot") is Dot
