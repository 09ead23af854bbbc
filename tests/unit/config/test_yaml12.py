from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mplframe.config.load import dump, parse
from mplframe.errors import ConfigError

# What YAML 1.2's core schema makes of plain scalars.
SCALARS: dict[str, Any] = {
    "off": "off", "on": "on", "no": "no", "yes": "yes", "n": "n", "y": "y", "Off": "Off",
    "true": True, "False": False, "null": None, "~": None, "": None,
    "1e-5": 1e-5, "1E5": 1e5, "-2e+3": -2e3, "5e-4": 5e-4, "1.5": 1.5, ".5": 0.5, "5.": 5.0, ".inf": float("inf"),
    "-.inf": float("-inf"), "3": 3, "-7": -7, "0x1F": 31, "word": "word", "1e": "1e", "e5": "e5", "1.2.3": "1.2.3",
}  # fmt: skip
# Where YAML 1.1 has octal numbers, numbers to the base of 60, and dates.
NOT_AS_IN_YAML_1_1: dict[str, Any] = {"010": 10, "1:30": "1:30", "2024-01-31": "2024-01-31"}


@pytest.mark.parametrize(("text", "value"), [*SCALARS.items(), *NOT_AS_IN_YAML_1_1.items()])
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    found = parse(f"key: {text}", where="here")["key"]
    assert found == value
    assert type(found) is type(value)


def test_what_is_no_yaml_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"run\.yaml isn't valid YAML: .*line 1"):
        parse("a: [1, 2", where="run.yaml")


def test_a_key_given_twice_is_refused_rather_than_dropped() -> None:
    with pytest.raises(ConfigError, match="log_every"):
        parse("log_every: 1\nseed: 3\nlog_every: 2\n", where="run.yaml")


def test_yaml_cannot_make_python_objects() -> None:
    with pytest.raises(ConfigError, match="isn't valid YAML"):
        parse("a: !!python/object/apply:os.getcwd []", where="run.yaml")


odd = st.sampled_from([*SCALARS, *NOT_AS_IN_YAML_1_1, "1e5", "=", "<<", "- a", "a: b", "#", "'", "\u2028", "\t"])
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12) | odd
trees = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.recursive(
        scalars, lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text(max_size=8), t, max_size=3), max_leaves=8
    ),
    max_size=4,
)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(trees)
def test_what_is_dumped_is_parsed_back_unchanged(tree: dict[str, Any]) -> None:
    assert parse(dump(tree), where="here") == tree


def test_the_same_object_twice_is_written_out_twice() -> None:
    shared = {"a": 1}
    text = dump({"x": shared, "y": shared})
    assert "&" not in text
    assert "*" not in text
