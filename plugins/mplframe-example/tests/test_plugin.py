"""The plugin as a whole: found, light to import, built on what is public, and run by name from YAML."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import mplframe
import pytest
from mplframe.plugins import Components, discover

from mplframe_example import plugin

NAME = "mplframe-example"
FOLDER = Path(__file__).parents[1]
PUBLIC = ("mplframe", "mplframe.config.base", "mplframe.contracts", "mplframe.errors")


@pytest.fixture
def installed() -> Components:
    """With the plugin by its entry point, or handed over where it isn't installed."""
    found = discover()
    return found if any(p.name == NAME for p in found.plugins) else discover(extra=[(NAME, plugin)])


def test_it_is_sound(installed: Components) -> None:
    assert [p.reason for p in installed.plugins if p.name == NAME] == [""]
    assert not [problem for problem in installed.examine() if NAME in problem]


def test_it_registers_what_the_readme_says(installed: Components) -> None:
    rows = [line.split("|") for line in (FOLDER / "README.md").read_text().splitlines() if line.startswith("| ")][1:]
    said = {(kind.strip(), name.strip(" `")) for _, kind, name, *_ in rows}
    assert said == {(c["kind"], c["name"]) for c in installed.listing()["components"] if c["origin"] == NAME}


def test_importing_it_imports_no_torch() -> None:
    code = "import sys, mplframe_example.plugin; sys.exit('torch' in sys.modules)"
    paths = [str(Path(plugin.__file__).parents[1]), str(Path(mplframe.__file__).parents[1])]
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {paths}; {code}"], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("file", sorted(FOLDER.glob("src/**/*.py")), ids=lambda file: file.stem)
def test_it_uses_what_is_public(file: Path) -> None:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    modules = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    own = [module for module in modules if module.split(".")[0] == "mplframe"]
    assert not [m for m in own if m not in PUBLIC and not m.startswith("mplframe.contracts.")]


def test_the_example_learns(installed: Components, tmp_path: Path) -> None:
    config = mplframe.load(FOLDER / "example.yaml", overrides=["trackers=[jsonl]"], installed=installed)
    summary: dict[str, Any] = mplframe.run(config, out=tmp_path / "run", installed=installed)
    # Always the same class would be right half of the time.
    assert summary["stages"]["mpl"]["networks"]["teacher"]["top1"] > 0.75
