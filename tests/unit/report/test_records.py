import json
from pathlib import Path
from typing import Any

import pytest

from mplframe.errors import DataError
from mplframe.report.curves import Series, StageSpan, read_records, series, stage_spans


def record(stage: str, step: int, total: int, split: str = "train", **values: Any) -> dict[str, Any]:
    return {"stage": stage, "step": step, "total": total, "split": split, **values, "timing": {"seconds": 1.0}}


RECORDS = [
    record("supervised", 5, 5, **{"student/loss": 2.0}),
    record("supervised", 10, 10, **{"student/loss": 1.0}),
    record("mpl", 10, 20, **{"teacher/loss": 1.5, "student/loss": 1.4, "student/lr": 0.1}),
    record("mpl", 10, 20, "test", **{"student/top1": 0.5}),
    record("supervised", 4, 24, **{"student/loss": 1}),
]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_records_come_back_as_written(tmp_path: Path) -> None:
    path = write(tmp_path / "metrics.jsonl", "".join(json.dumps(r) + "\n" for r in RECORDS))
    assert read_records(path) == RECORDS


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "metrics.jsonl", json.dumps(RECORDS[0]) + '\n{"stage": "sup')
    assert read_records(path) == RECORDS[:1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no records yet"),
        ('{"stage": \n' + json.dumps(RECORDS[0]), "line 1 isn't JSON"),
        ('{"loss": 1.0}\n', "line 1 isn't a record with stage, step, total, split"),
        ("[1, 2]\n", "line 1 isn't a record"),
    ],
)
def test_other_damage_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_records(write(tmp_path / "metrics.jsonl", text))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no .*nowhere\.jsonl"):
        read_records(tmp_path / "nowhere.jsonl")


def test_stages_span_their_steps_even_when_a_name_comes_twice() -> None:
    assert stage_spans(RECORDS) == [
        StageSpan("supervised", 0, 10),
        StageSpan("mpl", 10, 20),
        StageSpan("supervised", 20, 24),
    ]


def test_series_are_cut_at_stages() -> None:
    found = series(RECORDS, "train", lambda name: name.endswith("/loss"))
    assert found == [
        Series("student/loss", StageSpan("supervised", 0, 10), (5, 10), (2.0, 1.0)),
        Series("teacher/loss", StageSpan("mpl", 10, 20), (20,), (1.5,)),
        Series("student/loss", StageSpan("mpl", 10, 20), (20,), (1.4,)),
        Series("student/loss", StageSpan("supervised", 20, 24), (24,), (1.0,)),
    ]
    assert [curve.role for curve in found] == ["student", "teacher", "student", "student"]


def test_splits_are_kept_apart() -> None:
    (curve,) = series(RECORDS, "test", lambda name: True)
    assert (curve.name, curve.values) == ("student/top1", (0.5,))
