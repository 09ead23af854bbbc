"""The two pages about plugins say what is so: code is the example's, commands work, no hook or suite is left out."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import mplframe.testing
from mplframe.hooks import KINDS, Specs
from mplframe.plugins import discover

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to" / "plugins.md"
HOOKS = ROOT / "docs" / "reference" / "hooks.md"
EXAMPLE = ROOT / "plugins" / "mplframe-example"
ELSEWHERE = ("mplframe run example.yaml --out runs/example", "mplframe plugins doctor")
"""Commands that `test_plugins.py` runs; each takes seconds."""

FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    language: str
    file: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(page.read_text())]


def commands(page: Path) -> list[str]:
    lines = [line for block in blocks(page) if block.language == "console" for line in block.text.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def sections(page: Path) -> dict[str, str]:
    """Text below each second-level heading."""
    parts = re.split(r"^## +`?([^`\n]+)`?\n", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(
    "block", [b for b in blocks(HOW_TO) if b.language != "console"], ids=lambda b: b.file or b.text
)
def test_code_is_that_of_the_example(block: Block) -> None:
    assert block.file, 'a block of code needs a title="FILE" of the example'
    assert block.text in (EXAMPLE / block.file).read_text()


def test_the_page_shows_one_component_of_each_kind_that_the_example_brings() -> None:
    shown = {block.file for block in blocks(HOW_TO)}
    assert {f"src/mplframe_example/{path.name}" for path in EXAMPLE.glob("src/*/[a-z]*.py")} <= shown
    assert {"pyproject.toml", "example.yaml", "tests/test_contracts.py"} <= shown


def test_the_commands_are_those_that_ci_runs() -> None:
    """Installing, running, testing and examining, each as in `.ci/run` or in the tests of this folder."""
    verbs = {" ".join(shlex.split(command)[:2]) for command in commands(HOW_TO)}
    assert verbs == {"pip install", "pytest tests", "mplframe plugins", "mplframe run", "mplframe config"}


@pytest.mark.parametrize("command", [c for c in commands(HOW_TO) if c.startswith("mplframe ") and c not in ELSEWHERE])
def test_commands_work(command: str, mplframe: Callable[..., Any]) -> None:
    done = mplframe(*shlex.split(command)[1:], cwd=EXAMPLE)
    assert done.returncode == 0, done.stderr


def test_every_hook_is_documented_and_no_other() -> None:
    documented = {heading for heading in sections(HOOKS) if heading.startswith("mplframe_")}
    assert documented == {kind.hook for kind in KINDS}


def test_every_hook_has_a_specification_with_a_docstring() -> None:
    specified = {name: spec for name, spec in vars(Specs).items() if name.startswith("mplframe_")}
    assert specified.keys() == {kind.hook for kind in KINDS}
    assert all((spec.__doc__ or "").strip() for spec in specified.values())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_hook_is_documented_with_its_contract_its_suite_and_its_arguments(kind: Any) -> None:
    text = sections(HOOKS)[kind.hook]
    module, _, contract = kind.contract.partition(":")
    assert f"`{module}.{contract}`" in text
    suites = re.findall(r"`(check_\w+)`", text)
    assert suites == [f"check_{kind.kind}"]
    assert suites[0] in mplframe.testing.__all__
    for argument in list(inspect.signature(getattr(Specs, kind.hook)).parameters)[1:]:
        assert f"`{argument}`" in text


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_methods_that_a_page_lists_are_those_of_the_contract(kind: Any) -> None:
    """Every abstract method or property of the contract is named below its hook."""
    module, _, name = kind.contract.partition(":")
    contract = getattr(import_module(module), name)
    text = sections(HOOKS)[kind.hook]
    missing = [method for method in contract.__abstractmethods__ if f"`{method}" not in text]
    assert not missing


def test_examples_of_configs_in_the_reference_are_valid() -> None:
    """Each YAML line there is a component of its section's kind, by a name that ships."""
    found = discover()
    for kind in KINDS:
        for text in re.findall(r"```yaml\n(.*?)```", sections(HOOKS)[kind.hook], flags=re.DOTALL):
            settings = yaml.safe_load(text)
            mplframe.testing.named(kind.kind, settings, found)
