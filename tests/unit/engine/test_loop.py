import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_support import SIGTERM, Life, Script
from hypothesis import given, settings
from hypothesis import strategies as st

from mplframe.contracts.watching import Record
from mplframe.engine.interrupt import Flag, Interrupted, polite_end
from mplframe.engine.loop import Every, Progress
from mplframe.errors import CheckpointError, RunError, UserError


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 20), st.integers(1, 60))
def test_what_is_due(every: int, steps: int) -> None:
    due = [step for step in range(1, steps + 1) if Every.due(every, step, steps)]
    assert due == sorted({steps, *(range(every, steps + 1, every) if every else ())})


def reproducible(records: list[Record]) -> list[tuple[Any, ...]]:
    """Records without what differs from run to run."""
    return [(r.stage, r.step, r.total, r.split, dict(r.values)) for r in records]


def test_steps_are_logged_evaluated_and_saved_when_due(tmp_path: Path) -> None:
    life = Life(tmp_path, steps=(7,))
    life.run()
    when = {split: [r.step for r in life.tracker.records if r.split == split] for split in ("train", "test")}
    assert when == {"train": [2, 4, 6, 7], "test": [3, 6, 7]}
    steps = {int(path.stem.partition("-")[2]) for path in life.store.paths()}
    assert steps >= {2, 4, 6, 7}
    assert life.tracker.steps == [("stage0", i, i) for i in range(1, 8)]


def test_records_are_means_over_their_steps(tmp_path: Path) -> None:
    plain, fine = Life(tmp_path / "a", every=Every(3, 0, 100)), Life(tmp_path / "b", every=Every(1, 0, 100))
    for life in (plain, fine):
        life.folder.mkdir()
        life.run()
    each = [r.values["student/loss"] for r in fine.tracker.records if r.split == "train"]
    means = [r.values["student/loss"] for r in plain.tracker.records if r.split == "train"]
    assert means == pytest.approx([math.fsum(each[:3]) / 3, math.fsum(each[3:]) / 3])


def test_the_images_of_all_micro_batches_count(tmp_path: Path) -> None:
    progress = Life(tmp_path, accumulate=2).run()
    assert progress.images == 6 * 4
    assert progress.results["stage0"]["images"] == 24


def test_a_step_in_micro_batches_sees_all_samples(tmp_path: Path) -> None:
    totals = []
    for accumulate in (1, 4):
        folder = tmp_path / str(accumulate)
        folder.mkdir()
        life = Life(folder, accumulate=accumulate)
        life.run()
        totals.append(life.newest()["state"]["total"].item())
    assert totals[0] == totals[1]


def test_results_are_of_each_stage(tmp_path: Path) -> None:
    life = Life(tmp_path, steps=(3, 4))
    progress = life.run()
    assert list(progress.results) == ["stage0", "stage1"]
    assert (progress.stage, progress.step, progress.total) == (1, 4, 7)
    assert [progress.results[name]["images"] for name in progress.results] == [12, 16]
    assert life.artifacts == ["stage0", "stage1"]
    assert 0 <= progress.results["stage0"]["seconds"] <= progress.seconds
    assert life.feed.open == 0


def ended(folder: Path, steps: tuple[int, ...]) -> tuple[list[tuple[Any, ...]], Any, Any]:
    """What an undisturbed run leaves: records, results without times, the last state."""
    folder.mkdir()
    life = Life(folder, steps=steps)
    progress = life.run()
    return reproducible(life.tracker.records), timeless(progress), life.newest()["state"]["total"]


def timeless(progress: Progress) -> dict[str, Any]:
    state = progress.state_dict()
    results = {name: {k: v for k, v in r.items() if k != "seconds"} for name, r in state["results"].items()}
    return {k: v for k, v in state.items() if "seconds" not in k} | {"results": results}


@pytest.mark.parametrize("stop", range(8))
def test_a_run_told_to_stop_goes_on_as_if_nothing_had_happened(tmp_path: Path, stop: int) -> None:
    """A signal in any step of two stages; what is drawn from the global generator goes on too."""
    steps = (4, 4)
    records, progress, state = ended(tmp_path / "whole", steps)
    (tmp_path / "cut").mkdir()
    first, second = (
        Life(tmp_path / "cut", steps=steps, script=script) for script in (Script({stop: SIGTERM}), Script())
    )
    if stop == 7:
        # Nothing is left to do after the last step.
        assert timeless(first.run()) == progress
        return
    with pytest.raises(Interrupted, match="the same command resumes"):
        first.run()
    checkpoint = first.newest()
    # A stage that has taken its last step is done with: the run stops in the next one.
    assert checkpoint["progress"]["total"] == stop + 1 + (stop == 3)
    assert timeless(second.run(checkpoint)) == progress
    assert second.newest()["state"]["total"] == state
    assert reproducible(first.tracker.records) + reproducible(second.tracker.records) == records


@pytest.mark.parametrize("total", [2, 4, 5, 7])
def test_every_checkpoint_leads_to_the_same_end(tmp_path: Path, total: int) -> None:
    """As after a kill: of all checkpoints, those of a stage's end included."""
    steps = (5, 3)
    records, progress, state = ended(tmp_path / "whole", steps)
    checkpoints = {int(p.stem.partition("-")[2]): p for p in Life(tmp_path / "whole", steps=steps).store.paths()}
    resumed = Life(tmp_path, steps=steps)
    assert timeless(resumed.run(torch.load(checkpoints[total], weights_only=True))) == progress
    assert resumed.newest()["state"]["total"] == state
    assert reproducible(resumed.tracker.records) == [record for record in records if record[2] > total]


def test_a_finished_checkpoint_has_nothing_left_to_do(tmp_path: Path) -> None:
    life = Life(tmp_path)
    progress = life.run()
    again = Life(tmp_path)
    assert timeless(again.run(life.newest())) == timeless(progress)
    assert again.tracker.steps == []


def test_a_checkpoint_says_what_it_is(tmp_path: Path) -> None:
    life = Life(tmp_path, steps=(4,))
    life.run()
    found = life.newest()
    assert found["identity"] == {"seed": 3}
    assert found["stage"] == "stage0"
    assert found["streams"] == {"labeled": {"samples": 16}}
    assert found["progress"]["total"] == 4


def test_the_state_of_other_networks_is_refused(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.run()
    checkpoint = {**life.newest(), "state": {"other": torch.zeros(())}}
    checkpoint["progress"] = {**checkpoint["progress"], "step": 2}
    with pytest.raises(CheckpointError, match="aren't those of this configuration"):
        Life(tmp_path).run(checkpoint)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_run_that_diverges_ends_before_it_saves_or_is_judged(tmp_path: Path, value: float) -> None:
    life = Life(tmp_path, script=Script(losses={3: value}), every=Every(100, 2, 2))
    with pytest.raises(RunError, match=r"student/loss is (nan|inf) by step 4: training has diverged"):
        life.run()
    assert [path.name for path in life.store.paths()] == ["step-000000002.pt"]
    assert [record.step for record in life.tracker.records] == [2]
    assert life.feed.open == 0


def test_the_best_is_that_of_the_main_method(tmp_path: Path) -> None:
    """A baseline's networks are judged too, but never kept as the best."""
    life = Life(tmp_path, steps=(4, 4))
    saved: list[tuple[int, bool]] = []
    save = life.store.save

    def noting(total: int, payload: Any, *, best: bool = False) -> Path:
        saved.append((total, best))
        return save(total, payload, best=best)

    life.store.save = noting  # type: ignore[method-assign]
    progress = life.run()
    assert {total for total, best in saved if best} <= {5, 6, 7, 8}
    assert progress.best == max(
        r.values["student/top1"] for r in life.tracker.records if r.stage == "stage1" and r.split == "test"
    )
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    assert best["progress"]["best"] == progress.best


def test_a_metric_that_nobody_gives_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"checkpoint\.metric: no evaluator gives 'top9' \(they give: .*top1"):
        Life(tmp_path, metric="top9").run()


def test_a_task_runs_between_stages_and_its_results_are_kept(tmp_path: Path) -> None:
    done: list[int] = []

    def work(context: Any) -> dict[str, Any]:
        done.append(len(life.artifacts))
        return {"labeled": 3}

    life = Life(tmp_path, steps=(4, 3), task=work)
    progress = life.run()
    assert done == [1]  # when the first stage had left its artifacts
    assert progress.results["task"]["labeled"] == 3
    assert progress.total == 7


def test_a_task_that_was_cut_off_is_done_again_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = Life(tmp_path / "a", steps=(4, 3), task=lambda context: {})
    whole.run()
    calls: list[str] = []

    def stopped(flag: Flag) -> dict[str, Any]:
        calls.append("run")
        if len(calls) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        flag.check()
        return {}

    first = Life(tmp_path / "b", steps=(4, 3), task=stopped)
    with pytest.raises(Interrupted, match="the same command resumes"):
        first.run()
    again = Life(tmp_path / "b", steps=(4, 3), task=stopped)
    progress = again.run(again.newest())
    assert calls == ["run", "run"]
    assert progress.total == 7
    assert again.artifacts == ["stage1"]
    assert reproducible(first.tracker.records + again.tracker.records) == reproducible(whole.tracker.records)


def test_without_a_metric_no_best_is_kept(tmp_path: Path) -> None:
    Life(tmp_path, metric=None).run()
    assert not (tmp_path / "best.pt").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_acts_as_always(number: signal.Signals) -> None:
    received = []
    before = signal.signal(number, lambda *_: received.append(1))
    try:
        with polite_end(Flag()) as flag:
            assert not flag.raised
            os.kill(os.getpid(), number)
            assert flag.raised
            assert received == []
            os.kill(os.getpid(), number)
            assert received == [1]
        os.kill(os.getpid(), number)
        assert received == [1, 1]
    finally:
        signal.signal(number, before)


def test_interrupting_has_the_exit_code_of_the_shell() -> None:
    assert Interrupted.exit_code == 130
