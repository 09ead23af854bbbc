from collections.abc import Mapping
from typing import Any

import pytest
from engine_support import Script, SumStage

from mplframe.checkpoint.compatible import check_identity, differences, restore
from mplframe.errors import CheckpointError

SAVED: dict[str, Any] = {
    "seed": 0,
    "method": {
        "name": "mpl",
        "feedback": {"name": "baseline", "inner": {"name": "cosine"}},
        "losses": [{"weight": 1.0}],
    },
    "samples": {"labeled": 40},
    "classes": ["a", "b"],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """SAVED with one value changed."""

    def copy(node: Any, keys: list[str]) -> Any:
        if not keys:
            return value
        if isinstance(node, list):
            return [copy(item, keys[1:]) if str(i) == keys[0] else item for i, item in enumerate(node)]
        return {**node, keys[0]: copy(node.get(keys[0]), keys[1:])}

    result: dict[str, Any] = copy(SAVED, path.split("."))
    return result


def test_the_same_configuration_may_go_on() -> None:
    check_identity(SAVED, SAVED)
    check_identity({"classes": ("a", "b")}, {"classes": ["a", "b"]})


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("seed", 1, "seed: 0 then, 1 now"),
        ("method.feedback.inner.name", "dot", "method.feedback.inner.name: 'cosine' then, 'dot' now"),
        ("method.losses.0.weight", 2.0, "method.losses.0.weight: 1.0 then, 2.0 now"),
        ("method.losses", [], "method.losses: [{'weight': 1.0}] then, [] now"),
        ("samples.unlabeled", 7, "samples.unlabeled: None then, 7 now"),
        ("classes.1", "c", "classes.1: 'b' then, 'c' now"),
        ("method", None, "method: {"),
    ],
)
def test_every_difference_is_named_with_both_values(path: str, value: Any, line: str) -> None:
    (found,) = differences(SAVED, changed(path, value))
    assert found.startswith(line)
    with pytest.raises(CheckpointError, match="another configuration") as caught:
        check_identity(SAVED, changed(path, value))
    assert line in str(caught.value)
    assert list(differences(changed(path, value), SAVED))


def test_many_differences_are_cut_short_and_counted() -> None:
    with pytest.raises(CheckpointError, match="and 5 more"):
        check_identity({str(i): 0 for i in range(15)}, {str(i): 1 for i in range(15)})


@pytest.mark.parametrize("state", [{}, {"total": 3, "other": 4}, {"other": 3}])
def test_a_state_that_does_not_fit_says_why(state: Mapping[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"aren't those of this configuration: .*total"):
        restore(SumStage(Script()), state)
