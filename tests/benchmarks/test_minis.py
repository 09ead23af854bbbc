"""The small forms of the presets that were trained: what is planned, and what the page says."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.minis import GROUPS, PRESETS, by_group, planned
from mplframe.config.load import read

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "minis.md"
RESULTS = ROOT / "benchmarks" / "results" / "minis.json"


def test_every_row_is_a_preset_with_a_mini_and_every_feedback_has_its_ablation() -> None:
    for rows in GROUPS.values():
        for row in rows:
            method = read(ROOT / PRESETS / f"{row.preset}.yaml", profile="mini")["method"]
            assert row.feedback or "feedback" in method
            without = [other.preset for other in rows if not other.feedback]
            assert "feedback" not in method or row.preset in without


def test_first_seeds_come_before_second_ones() -> None:
    seeds = [seed for _, seed in planned(list(GROUPS))]
    assert seeds == sorted(seeds)
    assert len({(row.name, seed) for row, seed in planned(list(GROUPS))}) == len(seeds)


def test_the_page_has_the_tables_of_the_results() -> None:
    found = by_group(json.loads(RESULTS.read_text()))
    page = PAGE.read_text()
    for title, text in found.items():
        assert f"### {title}\n" in page
        assert text in page, f"python -m benchmarks.minis --table {RESULTS.relative_to(ROOT)}"
