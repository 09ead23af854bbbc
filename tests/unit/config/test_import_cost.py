"""Looking at help or at a config must not cost the seconds that importing torch takes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "timm", "pyarrow", "webdataset", "matplotlib", "sklearn")


def loaded_by(statement: str) -> set[str]:
    """Which heavy packages a fresh interpreter has after a statement."""
    code = f"{statement}\nimport sys\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    ["mplframe", "mplframe.cli", "mplframe.config.load", "mplframe.config.resolve", "mplframe.config.run",
     "mplframe.config.schema", "mplframe.errors", "mplframe.hooks", "mplframe.plugins"],
)  # fmt: skip
def test_importing_it_is_cheap(module: str) -> None:
    assert loaded_by(f"import {module}") == set()


def test_the_check_would_notice() -> None:
    assert "torch" in loaded_by("import mplframe.contracts.batch")


def test_finding_plugins_imports_no_component() -> None:
    assert loaded_by("from mplframe.plugins import discover; discover().listing()") == set()


def test_help_answers_at_once() -> None:
    command = Path(sys.executable).parent / "mplframe"
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
        assert "Meta Pseudo Labels" in done.stdout
    assert min(seconds) < 0.5
