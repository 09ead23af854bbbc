import json
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mplframe.contracts.watching import Record, Tracker
from mplframe.tracking.console import Console, line
from mplframe.tracking.jsonl import FILE, JsonLines
from mplframe.tracking.tensorboard import TensorBoard


def record(total: int, *, split: str = "train", loss: float | None = None, life: int = 1) -> Record:
    """A record of step `total`; the loss tells which life of the run it comes from."""
    value = float(total) + 1000 * life if loss is None else loss
    return Record("mpl", total, total, split, {"student/loss": value, "student/top1": 0.5}, {"images_per_second": 12.3})


def logged(
    folder: Path, totals: list[int], *, done: int = 0, life: int = 1, tracker: type[Tracker] = JsonLines
) -> None:
    """One life of a run."""
    one = tracker()
    one.open(folder, total_steps=100, done=done)
    for total in totals:
        one.log(record(total, life=life))
    one.close()


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (folder / FILE).read_text(encoding="utf-8").splitlines()]


def losses(folder: Path) -> list[float]:
    return [entry["student/loss"] for entry in lines(folder)]


def test_a_record_is_one_object(tmp_path: Path) -> None:
    logged(tmp_path, [7])
    assert lines(tmp_path) == [
        {
            "step": 7,
            "total": 7,
            "stage": "mpl",
            "split": "train",
            "student/loss": 1007.0,
            "student/top1": 0.5,
            "timing": {"images_per_second": 12.3},
        }
    ]


def test_a_record_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    tracker = JsonLines()
    tracker.open(tmp_path, total_steps=1, done=0)
    tracker.log(record(1))
    assert losses(tmp_path) == [1001.0]
    tracker.close()


def test_a_resumed_run_drops_what_lies_after_its_checkpoint(tmp_path: Path) -> None:
    logged(tmp_path, [1, 2, 3, 4])
    logged(tmp_path, [3, 4, 5], done=2, life=2)
    assert losses(tmp_path) == [1001.0, 1002.0, 2003.0, 2004.0, 2005.0]


def test_a_run_that_begins_anew_keeps_nothing(tmp_path: Path) -> None:
    logged(tmp_path, [1, 2])
    logged(tmp_path, [1], life=2)
    assert losses(tmp_path) == [2001.0]


@pytest.mark.parametrize("torn", range(1, 40, 6))
def test_the_torn_line_of_a_killed_run_is_dropped(tmp_path: Path, torn: int) -> None:
    logged(tmp_path, [1, 2])
    path = tmp_path / FILE
    path.write_text(path.read_text()[:-torn])
    logged(tmp_path, [2, 3], done=1, life=2)
    assert losses(tmp_path) == [1001.0, 2002.0, 2003.0]


def test_a_line_whose_end_was_lost_does_not_swallow_the_next(tmp_path: Path) -> None:
    """Torn just before its newline it is a whole object."""
    logged(tmp_path, [1, 2])
    path = tmp_path / FILE
    path.write_text(path.read_text().removesuffix("\n"))
    logged(tmp_path, [3], done=2, life=2)
    assert losses(tmp_path)[-1] == 2003.0
    assert len(lines(tmp_path)) in (2, 3)


def test_resuming_without_a_file_begins_one(tmp_path: Path) -> None:
    logged(tmp_path, [3], done=2)
    assert losses(tmp_path) == [1003.0]


def test_closing_twice_or_unopened_does_no_harm(tmp_path: Path) -> None:
    for tracker in (JsonLines(), TensorBoard(), Console()):
        tracker.close()
        tracker.open(tmp_path, total_steps=1, done=0)
        tracker.close()
        tracker.close()


def test_only_strict_json_is_written(tmp_path: Path) -> None:
    """`NaN` is no JSON: other programs than Python's refuse the file."""
    tracker = JsonLines()
    tracker.open(tmp_path, total_steps=1, done=0)
    tracker.log(record(1, split="test", loss=float("inf")))
    tracker.log(record(2, split="test", loss=float("nan")))
    tracker.close()

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    texts = (tmp_path / FILE).read_text().splitlines()
    assert [json.loads(text, parse_constant=refuse)["student/loss"] for text in texts] == [None, None]


def series(folder: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_tensorboard_has_one_series_a_metric(tmp_path: Path) -> None:
    logged(tmp_path, [1, 2], tracker=TensorBoard)
    assert series(tmp_path, "train/student/loss") == [(1, 1001.0), (2, 1002.0)]
    assert series(tmp_path, "train/timing/images_per_second")[0][1] == pytest.approx(12.3)


def test_tensorboard_hides_what_a_resumed_run_does_again(tmp_path: Path) -> None:
    logged(tmp_path, [1, 2, 3, 4], tracker=TensorBoard)
    logged(tmp_path, [3, 4, 5], done=2, life=2, tracker=TensorBoard)
    assert series(tmp_path, "train/student/loss") == [(1, 1001.0), (2, 1002.0), (3, 2003.0), (4, 2004.0), (5, 2005.0)]


def test_a_line_for_people_shows_what_they_watch() -> None:
    values = {"student/loss": 1.23456, "teacher/label_agreement": 0.5, "student/lr": 0.1, "feedback/h": -0.25}
    shown = line(Record("mpl", 7, 107, "train", values, {"images_per_second": 1234.5}))
    assert shown == "mpl 7 train: student/loss 1.235, teacher/label_agreement 0.5, feedback/h -0.25, 1234 images/s"
    shown = line(Record("mpl", 7, 107, "train", {}, {"images_per_second": 1.0, "waiting": 0.456}))
    assert shown == "mpl 7 train: 1 images/s, 46 % of the time waiting for data"


def test_the_console_leaves_standard_output_to_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.open(tmp_path, total_steps=10, done=0)
    console.log(record(1))
    console.message("resuming [bold]after[/bold] step 3")
    console.progress("mpl", 1, 10, 1)
    console.close()
    out, err = capsys.readouterr()
    assert out == ""
    assert "student/loss 1001" in err
    assert "[bold]after[/bold]" in err
