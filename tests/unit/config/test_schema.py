import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mplframe.config.load import parse
from mplframe.config.schema import json_schema
from mplframe.plugins import discover

FOLDER = Path(__file__).parents[3] / "examples"
EXAMPLES = [*sorted(FOLDER.glob("*.yaml")), *sorted(FOLDER.glob("paper/mpl/*.yaml"))]
QUICKSTART = FOLDER / "quickstart.yaml"


@cache
def schema() -> dict[str, Any]:
    installed = discover()
    return json_schema(
        {
            kind: {n: installed.config(kind, n) for n in registry.names()}
            for kind, registry in installed.registries.items()
        }
    )


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(schema())


def example(path: Path = QUICKSTART) -> dict[str, Any]:
    loaded: dict[str, Any] = parse(path.read_text(encoding="utf-8"), where=str(path))
    return loaded


def accepts(config: dict[str, Any]) -> bool:
    return bool(validator().is_valid(config))


def changed(path: str, value: Any) -> dict[str, Any]:
    """The quickstart with one setting replaced or added."""
    config = deepcopy(example())
    *parents, last = path.split(".")
    node: Any = config
    for key in parents:
        node = node[int(key) if isinstance(node, list) else key]
    node[last] = value
    return config


def test_it_is_a_schema_in_json() -> None:
    Draft202012Validator.check_schema(schema())
    assert json.loads(json.dumps(schema())) == schema()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_fits(path: Path) -> None:
    validator().validate(example(path))


def test_a_file_laid_on_another_may_leave_out_what_is_required() -> None:
    part = {"method": {"steps": 3}}
    assert accepts({"base": "quickstart.yaml", **part})
    assert not accepts(part)
    assert not accepts({"base": "quickstart.yaml", "method": {"stpes": 3}})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("colour", "red"),
        ("method.stpes", 3),
        ("method.feedback.inner", {"name": "cosine", "decay": 0.5}),
        ("method.feedback.decay", 1.5),
        ("method.feedback", "cosinus"),
        ("method.teacher.losses", [{"name": "uda", "wieght": 1}]),
        ("baselines.0.student.network", {"name": "small_cnn", "width": 3}),
        ("input.strong.1.magnitude", "much"),
        ("evaluation.evry", 3),
        ("method", {"name": "nothing_of_that_name"}),
    ],
)
def test_what_is_wrong_is_rejected(path: str, value: Any) -> None:
    assert accepts(example())
    assert not accepts(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("method.feedback", "off"),
        ("method.feedback", {"name": "baseline", "inner": {"name": "baseline", "inner": "dot"}}),
        ("method.finetune", None),
        ("base", "other.yaml"),
        ("profiles", {"smoke": {"method": {"steps": 3}}}),
    ],
)
def test_what_may_be_written_is_accepted(path: str, value: Any) -> None:
    assert accepts(changed(path, value))
