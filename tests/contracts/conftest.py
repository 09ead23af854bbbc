"""Both first-party plugins of `plugins/`, laid out as pip installs them, in a folder of their own."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Command = Callable[..., subprocess.CompletedProcess[str]]


def install(source: Path, target: Path) -> None:
    """The packages of a project and its metadata, without a build: CI has pip do it."""
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    shutil.copytree(source / "src", target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.egg-info"))
    info = target / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = [f"{name} = {module}" for name, module in project["entry-points"]["mplframe"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[mplframe]", *points, ""]))


@pytest.fixture(scope="session")
def installed_plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to put on the path: the example and its broken twin are found there by their entry points."""
    target = tmp_path_factory.mktemp("installed")
    for name in ("mplframe-example", "mplframe-broken"):
        install(ROOT / "plugins" / name, target)
    return target


@pytest.fixture(scope="session")
def mplframe(installed_plugins: Path) -> Command:
    """Runs `python -m mplframe` with both plugins installed."""
    path = os.pathsep.join([str(installed_plugins), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}

    def run(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mplframe", *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)

    return run
