"""A selection in words and as a picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from rich.console import Console

from mplframe.report.curves import COLORS
from mplframe.report.figures import selection_figure
from mplframe.report.tables import selection_table


def report(classes: int) -> dict[str, Any]:
    counts = list(range(10, 10 + classes))
    return {
        "tally": {
            "images": sum(counts),
            "predicted": counts,
            "candidates": counts,
            "confidence": [sum(counts)] + [0] * 19,
        },
        "dropped": {"threshold": sum(counts) - 5 * classes},
        "selected": 5 * classes,
        "rows": 5 * classes,
        "copies": 8 * classes,
        "rows_by_class": [5] * classes,
        "copies_by_class": [8] * classes,
        "confidence": [0] * 19 + [5 * classes],
        "known": 0,
        "correct": 0,
        "out": "best.parquet",
        "names": [],
    }


def said(found: dict[str, Any]) -> list[str]:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(selection_table(found))
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_the_table_adds_up() -> None:
    lines = said({**report(3), "names": ["ant", "bee", "cow"], "report": "figures/ has it all"})
    assert lines[:5] == [
        "images",
        "scored 33",
        "dropped: threshold 18",
        "selected 15",
        "15 rows + 9 repetitions = 24 samples, in best.parquet",
    ]
    assert lines[lines.index("class scored candidates rows samples") + 1 :][:3] == [
        "ant 10 10 5 8",
        "bee 11 11 5 8",
        "cow 12 12 5 8",
    ]
    assert "figures/ has it all" in lines


def test_of_many_classes_the_ends_are_listed() -> None:
    found = report(30)
    found["copies_by_class"] = [*reversed(range(30))]
    listed = said(found)
    at = listed.index("class scored candidates rows samples")
    classes = [line.split()[0] for line in listed[at + 1 : at + 22]]
    assert classes == [*(str(c) for c in range(29, 19, -1)), "...", *(str(c) for c in range(9, -1, -1))]


@pytest.mark.parametrize(("classes", "names"), [(3, ["ant", "bee", "cow"]), (3, []), (100, [])])
def test_classes_and_confidence_are_drawn_before_and_after(tmp_path: Path, classes: int, names: list[str]) -> None:
    selection_figure(report(classes), tmp_path / "figures" / "selection.png", names)
    picture = imread(tmp_path / "figures" / "selection.png")[..., :3]
    for color in ("0.6", COLORS[0], COLORS[1]):
        assert (np.abs(picture - to_rgb(color)).max(-1) < 0.02).sum() > 200
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["selection.png"]
