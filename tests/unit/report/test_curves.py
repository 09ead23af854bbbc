import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from mplframe.errors import DataError
from mplframe.report.curves import COLORS, learning_curves


def run_of(stages: dict[str, tuple[int, tuple[str, ...]]]) -> list[dict[str, Any]]:
    """Records like those of a run: train every 10 steps, test at the end of a stage and every 50."""
    records, done = [], 0
    for stage, (steps, roles) in stages.items():
        for step in range(10, steps + 1, 10):
            where = {"stage": stage, "step": step, "total": done + step}
            train = {f"{role}/loss": math.exp(-step / 100) for role in roles}
            if stage == "mpl":
                train |= {"feedback/h": 0.01 * math.sin(step), "student/labeled_loss": 2 * math.exp(-step / 100)}
            records.append({**where, "split": "train", **train, "timing": {}})
            if step % 50 == 0 or step == steps:
                test = {f"{role}/top1": 1 - math.exp(-step / 100) for role in roles}
                records.append({**where, "split": "test", **test, "timing": {}})
        done += steps
    return records


def draw(records: list[dict[str, Any]], folder: Path) -> np.ndarray:
    """[H, W, 3] of the picture."""
    metrics = folder / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    learning_curves(metrics, folder / "figures" / "curves.png")
    return imread(folder / "figures" / "curves.png")[..., :3]


def amount(picture: np.ndarray, color: str) -> int:
    """Pixels of a color."""
    return int((np.abs(picture - to_rgb(color)).max(-1) < 0.02).sum())


def test_every_network_is_drawn_in_its_color(tmp_path: Path) -> None:
    stages = {"supervised": (200, ("student",)), "mpl": (400, ("student", "teacher")), "finetune": (20, ("student",))}
    picture = draw(run_of(stages), tmp_path)
    student, teacher, feedback, absent = (amount(picture, color) for color in COLORS[:4])
    assert min(student, teacher, feedback) > 200
    assert absent == 0
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["curves.png"]


def test_panels_without_data_are_left_out(tmp_path: Path) -> None:
    records = run_of({"supervised": (50, ("student",))})
    tall = draw(records, tmp_path).shape[0]
    low = draw([record for record in records if record["split"] == "train"], tmp_path).shape[0]
    assert tall - low == pytest.approx(2.4 * 140, abs=1)


def test_values_that_are_not_finite_leave_gaps(tmp_path: Path) -> None:
    records = run_of({"supervised": (100, ("student",))})
    records[3]["student/loss"] = math.nan
    assert amount(draw(records, tmp_path), COLORS[0]) > 100


def test_one_step_is_enough(tmp_path: Path) -> None:
    records = [{"stage": "s", "step": 1, "total": 1, "split": "test", "student/top1": 0.5}]
    assert amount(draw(records, tmp_path), COLORS[0]) > 20


def test_nothing_to_draw_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no accuracy, loss or feedback to draw yet"):
        draw([{"stage": "s", "step": 1, "total": 1, "split": "train", "student/lr": 0.5}], tmp_path)


def test_a_picture_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    taken = tmp_path / "figures" / "curves.png"
    taken.mkdir(parents=True)
    with pytest.raises(OSError, match=r"curves\.png"):
        draw(run_of({"supervised": (50, ("student",))}), tmp_path)
    assert list(taken.parent.iterdir()) == [taken]
