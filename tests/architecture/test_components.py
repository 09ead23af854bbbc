"""What holds for every component that ships, and for the hooks it comes in by."""

import ast
import inspect
import re
from typing import Any

import pytest
from source_support import sources

import mplframe
from mplframe import builtins
from mplframe.config.base import ComponentConfig
from mplframe.config.resolve import kind_of
from mplframe.hooks import KINDS, Specs
from mplframe.plugins import discover

INSTALLED = discover()
SHIPPED = [
    (kind, entry.name, entry.path)
    for kind, registry in INSTALLED.registries.items()
    for entry in registry
    if entry.origin == "mplframe"
]
every_component = pytest.mark.parametrize(
    ("kind", "name", "path"), SHIPPED, ids=lambda value: str(value).split(":")[-1]
)


def test_every_kind_has_a_hook_and_something_that_ships() -> None:
    hooks = [name for name in vars(Specs) if not name.startswith("_")]
    assert hooks == [kind.hook for kind in KINDS]
    assert [name for name in vars(builtins) if name.startswith("mplframe_")] == hooks
    assert {kind for kind, _, _ in SHIPPED} == {kind.kind for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_hook_names_the_contract_that_it_registers(kind: Any) -> None:
    assert kind.contract.replace(":", ".") in (getattr(Specs, kind.hook).__doc__ or "")


def test_lists_are_alphabetical() -> None:
    source = next(source for source in sources() if source.name == "mplframe.builtins")
    functions = [node for node in source.tree.body if isinstance(node, ast.FunctionDef)]
    assert [f.name for f in functions] == sorted(f.name for f in functions)
    for function in functions:
        keys = [
            ast.literal_eval(k) for node in ast.walk(function) if isinstance(node, ast.Dict) for k in node.keys if k
        ]
        assert keys == sorted(set(keys)), function.name


@every_component
def test_it_is_final_and_in_a_file_of_its_kind(kind: str, name: str, path: str) -> None:
    cls = INSTALLED.get(kind, name)
    assert f"{cls.__module__}:{cls.__qualname__}" == path
    assert getattr(cls, "__final__", False), "abstract or final, never in between"
    assert not inspect.isabstract(cls)
    assert inspect.getdoc(cls)


@every_component
def test_its_config_is_named_and_documented(kind: str, name: str, path: str) -> None:
    config = INSTALLED.config(kind, name)
    assert config is INSTALLED.get(kind, name).Config
    assert issubclass(config, ComponentConfig)
    assert config.model_fields["name"].default == name
    assert config.__qualname__.endswith(".Config")
    documented = set(re.findall(r"^\s+(\w+):", config.__doc__ or "", flags=re.MULTILINE))
    assert config.__doc__
    # Fields that a base documents needn't be repeated.
    inherited = {field for base in config.__mro__[1:] for field in getattr(base, "model_fields", {})}
    assert set(config.model_fields) - inherited - {"name"} <= documented


@every_component
def test_its_settings_are_frozen_and_strict(kind: str, name: str, path: str) -> None:
    config = INSTALLED.config(kind, name)
    assert config.model_config["frozen"]
    assert config.model_config["extra"] == "forbid"


@every_component
def test_it_can_be_made_from_its_config_alone(kind: str, name: str, path: str) -> None:
    """As third parties' tests do: `__init__(self, config=None, *, collaborators...)`."""
    parameters = list(inspect.signature(INSTALLED.get(kind, name).__init__).parameters.values())[1:]
    assert parameters[0].name == "config"
    config = INSTALLED.config(kind, name)
    required = {n for n, field in config.model_fields.items() if field.is_required()}
    if not required:
        assert parameters[0].default is None
    collaborators = {p.name for p in parameters[1:]}
    marked = {n for n, field in config.model_fields.items() if kind_of(field) is not None}
    # A component that looks up others by what it reads elsewhere is given what makes them.
    assert kind == "method" or collaborators - {"make"} == marked


@pytest.mark.parametrize("name", mplframe.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(mplframe, name).__doc__ or name == "hookimpl"
    assert name in dir(mplframe)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'teh'"):
        mplframe.teh  # noqa: B018


def test_public_names_are_known_to_type_checkers() -> None:
    source = next(source for source in sources() if source.name == "mplframe")
    checked = next(node for node in source.tree.body if isinstance(node, ast.If))
    typed = {alias.asname for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == set(mplframe.__all__)
