"""A sweep of a grid of a few steps, through its command line and its worker processes."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.accuracy.__main__ import main

GRID = """
data: {name: digits}
input: {size: 8, channels: 1}
evaluation: {every: 0}
trackers: [jsonl]
method: {name: supervised, steps: 2, batch: 8, student: {network: {name: mlp, hidden: [4]}}}
profiles:
  one: {}
  two: {method: {steps: 3}}
"""


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPLFRAME_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    return path


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def test_a_sweep_goes_on_and_its_table_is_in_its_json(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = grid.parent
    words = [str(grid), "--out", str(folder / "runs"), "--json", str(folder / "results.json")]
    assert main([*words, "--seeds", "1"]) == 0
    first = results(folder)
    assert [(run["variant"], run["seed"]) for run in first["runs"]] == [("one", 0), ("two", 0)]
    assert [run["images"] for run in first["runs"]] == [16, 24]
    assert first["versions"]["torch"]
    summary = json.loads((folder / "runs" / "two-0" / "summary.json").read_text())
    assert first["runs"][1]["top1"] == pytest.approx(summary["final"]["top1"], abs=1e-6)

    made = (folder / "runs" / "one-0" / "summary.json").stat().st_mtime_ns
    assert main([*words, "--seeds", "2", "--jobs", "2"]) == 0
    assert (folder / "runs" / "one-0" / "summary.json").stat().st_mtime_ns == made
    second = results(folder)["runs"]
    assert [(run["variant"], run["seed"]) for run in second] == [("one", 0), ("two", 0), ("one", 1), ("two", 1)]
    assert second[:2] == first["runs"]
    assert json.loads((folder / "runs" / "one-1" / "manifest.json").read_text())["data"]["split_seed"] == 1

    printed = capsys.readouterr().out
    assert main(["--table", str(folder / "results.json")]) == 0
    assert printed.endswith(capsys.readouterr().out)

    # A folder of other runs is not taken for these.
    assert main([*words, "--seeds", "1", "--variant", "one", "--set", "method.batch=4"]) == 1
    assert "holds a finished run with another method" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--variant", "three"], "no variant 'three'"),
        (["--set", "method.stepps=3"], "stepps"),
    ],
)
def test_bad_input_gets_one_message(
    grid: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(grid), "--out", str(grid.parent / "runs"), *words]) == 2
    assert message in capsys.readouterr().err
