"""The embedding example is short, uses public names alone, and teaches its student."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mplframe

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[2] / "examples" / "embed.py"


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 40


def test_it_uses_public_names_alone() -> None:
    tree = ast.parse(EXAMPLE.read_text())
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    sources = [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [name for name in [*imported, *sources] if name.startswith("mplframe")] == ["mplframe"]
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "mpl"
    }
    assert {"MPLStage", "NetworkTeacher", "NetworkStudent"} <= used <= set(mplframe.__all__)


def test_it_teaches() -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    accuracy = {role: float(value) for role, value in (line.split() for line in ran.stdout.splitlines())}
    assert set(accuracy) == {"student", "teacher"}
    assert accuracy["student"] > 0.85
