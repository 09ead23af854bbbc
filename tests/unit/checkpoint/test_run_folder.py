import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mplframe.checkpoint.format import load, save
from mplframe.checkpoint.run_folder import RunFolder, find_checkpoint
from mplframe.checkpoint.store import BEST, CheckpointStore
from mplframe.errors import CheckpointError, UserError
from mplframe.io.files import MARKER, claim
from mplframe.randomness import rng_state, set_rng_state


def folder(path: Path, *totals: int) -> tuple[RunFolder, CheckpointStore]:
    """A run folder with checkpoints."""
    made = RunFolder(path)
    with made.locked():
        store = CheckpointStore(made.checkpoints, keep=9)
        for total in totals:
            store.save(total, payload(total))
    return made, store


def payload(total: int) -> dict[str, Any]:
    return {"progress": {"total": total}, "state": torch.full((3,), float(total))}


def totals(store: CheckpointStore) -> list[int]:
    return [int(path.stem.partition("-")[2]) for path in store.paths()]


def begun(run: RunFolder, store: CheckpointStore, resume: str | Path) -> int | None:
    """The step that a run goes on from."""
    found = run.begin(str(resume), store)
    return None if found is None else int(found["progress"]["total"])


def test_a_new_folder_starts_from_the_beginning(tmp_path: Path) -> None:
    for resume in ("auto", "never"):
        assert begun(*folder(tmp_path / resume), resume) is None


def test_a_run_goes_on_from_its_newest_checkpoint(tmp_path: Path) -> None:
    assert begun(*folder(tmp_path, 10, 20), "auto") == 20


@pytest.mark.parametrize("resume", ["auto", "elsewhere"])
def test_a_finished_run_is_left_alone(tmp_path: Path, resume: str) -> None:
    other, _ = folder(tmp_path / "other", 5)
    run, store = folder(tmp_path / "run", 10)
    run.write_json(run.summary, {"final": {}})
    with pytest.raises(UserError, match=r"holds a finished run.*--resume never"):
        run.begin(str(other.path) if resume == "elsewhere" else resume, store)
    assert totals(store) == [10]


def test_never_removes_what_an_earlier_run_left_and_nothing_else(tmp_path: Path) -> None:
    run, store = folder(tmp_path, 10)
    for path in (run.config, run.manifest, run.summary, run.metrics, run.curves, run.checkpoints / BEST):
        path.write_text("old")
    (tmp_path / "tensorboard").mkdir()
    run.keep_artifact("0-mpl", "student", {})
    (tmp_path / "notes.txt").write_text("mine")
    (run.checkpoints / "mine.pt").write_text("mine")
    assert begun(run, store, "never") is None
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == [".lock", MARKER, "checkpoints/mine.pt", "notes.txt"]


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path).locked(),
        pytest.raises(UserError, match="another run is writing to"),
        RunFolder(tmp_path).locked(),
    ):
        raise AssertionError("both hold the folder")
    with RunFolder(tmp_path).locked():
        pass


def test_a_run_can_go_on_elsewhere(tmp_path: Path) -> None:
    old, _ = folder(tmp_path / "old", 10, 20)
    old.keep_artifact("0-mpl", "student", {"weight": torch.ones(2)})
    for name, resume, total in (
        ("a", old.path, 20),
        ("b", old.checkpoints / "step-000000010.pt", 10),
    ):
        run, store = folder(tmp_path / name)
        assert begun(run, store, resume) == total
        assert torch.equal(run.artifact("0-mpl", "student")["weight"], torch.ones(2))
    assert sorted(path.name for path in old.checkpoints.iterdir()) == ["step-000000010.pt", "step-000000020.pt"]


def test_a_folder_with_checkpoints_of_its_own_takes_no_others(tmp_path: Path) -> None:
    old, _ = folder(tmp_path / "old", 10)
    with pytest.raises(UserError, match="has checkpoints of its own"):
        begun(*folder(tmp_path / "new", 3), old.path)


def test_going_back_drops_what_came_later(tmp_path: Path) -> None:
    run, store = folder(tmp_path, 10, 20, 30)
    assert begun(run, store, run.checkpoints / "step-000000020.pt") == 20
    assert totals(store) == [20, 10]


def test_what_cannot_be_resumed_is_refused_before_anything_is_lost(tmp_path: Path) -> None:
    run, store = folder(tmp_path / "run", 10)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.pt").write_text("no checkpoint")
    for resume in (tmp_path / "nowhere.pt", tmp_path / "empty", tmp_path / "text.pt"):
        with pytest.raises(CheckpointError):
            run.begin(str(resume), store)
    assert totals(store) == [10]


def test_an_artifact_is_no_checkpoint_to_resume(tmp_path: Path) -> None:
    """It lies in the run folder too and is a file of the same format."""
    run, _ = folder(tmp_path / "old", 10)
    run.keep_artifact("0-mpl", "student", {"weight": torch.ones(2)})
    new, store = folder(tmp_path / "new")
    with pytest.raises(CheckpointError, match="student"):
        new.begin(str(run.path / "artifacts" / "0-mpl" / "student.pt"), store)


def test_small_files_are_json_and_text(tmp_path: Path) -> None:
    run, _ = folder(tmp_path)
    run.write_json(run.summary, {"a": [1, 2.5, None], "b": "é"})
    assert json.loads(run.summary.read_text()) == {"a": [1, 2.5, None], "b": "é"}
    run.write_text(run.config, "a: é\n")
    assert run.config.read_text(encoding="utf-8") == "a: é\n"


def test_artifacts_are_kept_by_method_and_role(tmp_path: Path) -> None:
    run, _ = folder(tmp_path)
    for method in ("0-supervised", "1-mpl"):
        run.keep_artifact(method, "student", {"weight": torch.full((2,), float(method[0]))})
    assert run.artifact("1-mpl", "student")["weight"].tolist() == [1.0, 1.0]
    with pytest.raises(CheckpointError, match="teacher"):
        run.artifact("1-mpl", "teacher")


def test_finding_a_checkpoint(tmp_path: Path) -> None:
    run, store = folder(tmp_path / "run", 10, 20)
    assert find_checkpoint(run.path, "last").name == "step-000000020.pt"
    with pytest.raises(CheckpointError, match="keeps no best checkpoint"):
        find_checkpoint(run.path, "best")
    store.save(30, payload(30), best=True)
    assert find_checkpoint(run.path, "best").name == BEST
    assert load(find_checkpoint(run.path, "best"))["progress"]["total"] == 30
    one = run.checkpoints / "step-000000010.pt"
    assert find_checkpoint(one, "last") == one
    with pytest.raises(UserError, match="give last or best"):
        find_checkpoint(run.path, "first")
    with pytest.raises(CheckpointError, match="no run folder or checkpoint at"):
        find_checkpoint(tmp_path / "nowhere", "last")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        find_checkpoint(tmp_path / "empty", "last")


def test_every_global_generator_goes_on_where_it_was(tmp_path: Path) -> None:
    def draw() -> tuple[float, float, float, float]:
        return random.random(), random.gauss(0, 1), float(np.random.normal()), torch.rand(()).item()

    outside = rng_state()
    draw()
    save(tmp_path / "rng.pt", {"rng": rng_state()})
    expected = [draw() for _ in range(3)]
    set_rng_state(load(tmp_path / "rng.pt")["rng"])
    assert [draw() for _ in range(3)] == expected
    set_rng_state(outside)


@pytest.mark.parametrize(
    "theirs",
    ["config.yaml", "metrics.jsonl", "artifacts/thesis.tex", "tensorboard/x", "checkpoints/best.pt", "manifest.json"],
)
def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path, theirs: str) -> None:
    file = tmp_path / theirs
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    with pytest.raises(UserError, match="files that no run of mplframe has left"), RunFolder(tmp_path).locked():
        pytest.fail("it was taken")
    assert file.read_text() == "mine"


def test_a_folder_with_other_files_or_of_ones_own_is_taken(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("mine")
    (tmp_path / "checkpoints").mkdir()  # by a run that was killed at once
    run = RunFolder(tmp_path)
    for _ in range(2):
        with run.locked():
            run.write_text(run.config, "ours")
    with pytest.raises(UserError, match="holds a run; choose another folder for the sweep"):
        claim(tmp_path, "sweep", ())


@pytest.mark.parametrize("name", ["artifacts", "checkpoints", "tensorboard", "config.yaml", MARKER])
def test_no_link_is_followed_out_of_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / MARKER).write_text("run\n")
    (tmp_path / "run" / name).unlink(missing_ok=True)
    (tmp_path / "run" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a link"), RunFolder(tmp_path / "run").locked():
        pytest.fail("it was taken")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_among_the_artifacts_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    run = RunFolder(tmp_path / "run")
    with run.locked():
        (run.path / "artifacts").mkdir()
        (run.path / "artifacts/0-mpl").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(UserError, match="leads out of the run folder"):
            run.keep_artifact("0-mpl", "student", {})
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_killed_processes_left_half_written_goes(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.locked():
        (run.path / "artifacts/0-mpl").mkdir(parents=True)
    ours = [".config.yaml.0123456789ab.part", "checkpoints/.step-000000002.pt.0123456789ab.part"]
    ours += ["artifacts/0-mpl/.part-0.parquet.0123456789abcdef0123456789abcdef.part"]
    theirs = ["notes.part", ".notes.part", ".x.0123.part"]
    for name in (*ours, *theirs):
        (tmp_path / name).write_text("half")
    with run.locked():
        assert sorted(p.name for p in tmp_path.rglob("*.part")) == sorted(theirs)
