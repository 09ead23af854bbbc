from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.two_moons import __main__ as command
from benchmarks.two_moons.figure import PANELS, draw_figure
from benchmarks.two_moons.points import draw
from benchmarks.two_moons.report import markdown
from benchmarks.two_moons.results import Store, compare, mean, success
from benchmarks.two_moons.settings import Cell, Setting
from benchmarks.two_moons.tables import ablation, cells
from benchmarks.two_moons.trial import run

SHORT = Setting(lr=0.5, init=1.0, uda=1.0, steps=20)
ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "benchmarks" / "results" / "two_moons.json"
PAGE = ROOT / "docs" / "explanation" / "two-moons.md"


def test_points_are_as_the_paper_has_them() -> None:
    points = draw(range(3))
    assert points.everything.x.shape == (3, 2, 2000)
    assert points.everything.y.sum(1).tolist() == [1000] * 3
    assert points.labeled.y.sum(1).tolist() == [3] * 3
    assert draw([0], 5).labeled.y.sum(1).tolist() == [5]
    assert not torch.equal(points.everything.x[0], points.everything.x[1])
    torch.testing.assert_close(draw([2]).labeled.x[0], points.labeled.x[2])


def test_settings_trained_together_do_not_notice() -> None:
    settings = [replace(SHORT, estimator="exact", weight=w, uda=u) for w, u in ((1.0, 1.0), (9.0, 0.0), (3.0, 2.0))]
    data = draw(range(2))
    for alone, result in zip(settings, run(settings, data), strict=True):
        torch.testing.assert_close(run([alone], data)[0].weights, result.weights, rtol=1e-4, atol=1e-5)


def test_feedback_is_heard_from_start_to_stop_alone() -> None:
    off, whole, never, late = (
        run([setting], draw(range(2)))[0].weights
        for setting in (
            SHORT,
            replace(SHORT, estimator="exact", weight=50.0),
            replace(SHORT, estimator="exact", weight=50.0, start=20),
            replace(SHORT, estimator="exact", weight=50.0, start=10, stop=15),
        )
    )
    torch.testing.assert_close(off[:, 0], never[:, 0])
    assert not torch.allclose(off[:, 0], whole[:, 0], atol=1e-3)
    assert not torch.allclose(off[:, 0], late[:, 0], atol=1e-3)
    assert not torch.allclose(whole[:, 0], late[:, 0], atol=1e-3)


def test_pseudo_labels_come_from_a_teacher_that_has_finished() -> None:
    sequential = run([replace(SHORT, sequential=True, labels="argmax")], draw(range(2)))[0]
    off = run([SHORT], draw(range(2)))[0]
    torch.testing.assert_close(sequential.weights[:, 0], off.weights[:, 0])
    assert not torch.allclose(sequential.weights[:, 1], off.weights[:, 1], atol=1e-3)


def test_wilson_interval_by_the_formula() -> None:
    found = success([0.99] * 15 + [0.95] * 5)
    z, n, p = 1.959964, 20, 0.75
    center, half = (p + z**2 / (2 * n)), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    expected = [(center - half) / (1 + z**2 / n), (center + half) / (1 + z**2 / n)]
    assert [found.value, found.low, found.high] == pytest.approx([p, *expected], abs=1e-5)


def test_bootstrap_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [mean(rng.normal(0.5, 0.1, 40)) for _ in range(100)]
    assert 88 <= sum(i.low <= 0.5 <= i.high for i in intervals) <= 99


def test_comparison_counts_seeds_that_only_one_solved() -> None:
    found = compare([0.99, 0.99, 0.99, 0.99, 0.9, 0.9], [0.9, 0.9, 0.9, 0.99, 0.99, 0.9])
    assert (found.only_first, found.only_second) == (3, 1)
    assert found.p == pytest.approx(2 * (1 + 4) / 16)  # two sides of at most one in four fair coins
    assert compare([0.99], [0.99]).p == 1.0


def test_every_cell_has_its_ablation() -> None:
    everything = cells(20)
    assert {ablation(cell.setting) for cell in everything.values()} <= {cell.setting for cell in everything.values()}


def test_the_command_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = {"a/off": Cell(SHORT, range(2)), "a/exact": Cell(replace(SHORT, estimator="exact"), range(2))}
    trained: list[str] = []
    monkeypatch.setattr(command, "cells", lambda seeds: tiny)
    monkeypatch.setattr(command, "run", lambda settings, data: trained.append("part") or run(settings, data))
    path = tmp_path / "new" / "moons.json"
    monkeypatch.setattr(sys, "argv", ["two_moons", "--json", str(path)])
    command.main()
    first, printed = path.read_text(), capsys.readouterr().out
    assert trained == ["part"] * 2
    assert "| exact | 0 % (0 to 66)" in printed
    command.main()
    assert trained == ["part"] * 2
    assert (path.read_text(), capsys.readouterr().out) == (first, printed)
    tiny["a/off"] = Cell(replace(SHORT, lr=0.2), range(2))
    command.main()
    assert trained == ["part"] * 3
    assert json.loads(path.read_text())["cells"]["a/off"]["setting"]["lr"] == 0.2


def test_a_prefix_that_fits_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["two_moons", "--only", "nothing/"])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 2


def test_figure_and_report_of_the_committed_results(tmp_path: Path) -> None:
    store = Store(RESULTS)
    assert {f"{row}/{name}" for row in ("fast", "paper") for _, name, _ in PANELS} <= set(store.cells)
    draw_figure(store, tmp_path / "moons.png")
    assert (tmp_path / "moons.png").stat().st_size > 50_000
    missing = [name for name, cell in cells(20).items() if not store.has(name, cell)]
    assert not missing, f"`python -m benchmarks.two_moons` trains them: {missing}"


@pytest.mark.parametrize("prefix", ["fast/", "paper/", "sweep/", "confirmed/", "afterwards/"])
def test_the_page_shows_the_committed_results(prefix: str) -> None:
    store = Store(RESULTS)
    ordered = {name: store.cells[name] for name in cells(20)}
    assert markdown(ordered, (prefix,)) in PAGE.read_text(), f"python -m benchmarks.two_moons --only {prefix}"
