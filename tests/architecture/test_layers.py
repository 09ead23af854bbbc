"""Which part may know which: the contracts of import-linter, and what they can't say."""

import subprocess
import sys
from pathlib import Path

import pytest
from source_support import ROOT, sources

LINTER = Path(sys.executable).parent / "lint-imports"


def lint(config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINTER, "--no-cache", "--config", config], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_imports_point_down() -> None:
    done = lint(ROOT / "pyproject.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_linter_would_notice_an_import_that_points_up(tmp_path: Path) -> None:
    config = tmp_path / "upside_down.toml"
    config.write_text(
        "[tool.importlinter]\nroot_package = 'mplframe'\n[[tool.importlinter.contracts]]\nname = 'upside down'\n"
        "type = 'layers'\nlayers = ['mplframe.errors', 'mplframe.config']\n"
    )
    done = lint(config)
    assert done.returncode == 1
    assert "1 broken" in done.stdout


@pytest.mark.parametrize(
    ("package", "homes"),
    [
        ("torch_xla", ("mplframe.backends.xla.backend", "mplframe.backends.xla.")),
        ("pluggy", ("mplframe.hooks", "mplframe.plugins")),
        ("typer", ("mplframe.cli",)),
        ("optuna", ("mplframe.search.study",)),
    ],
)
def test_some_packages_have_one_home(package: str, homes: tuple[str, ...]) -> None:
    guests = {s.name for s in sources() for name in s.imports() if name.split(".")[0] == package}
    assert {guest for guest in guests if not guest.startswith(homes)} == set()


def test_the_search_for_imports_finds_them() -> None:
    imported = {name.split(".")[0] for source in sources() for name in source.imports()}
    assert {"torch", "pluggy", "typer", "mplframe", "pydantic"} <= imported


def test_nothing_that_ships_imports_tests_or_examples() -> None:
    tops = {name.split(".")[0] for source in sources() for name in source.imports()}
    assert tops.isdisjoint({"tests", "examples", "benchmarks", "hypothesis", "pytest_timeout"})
