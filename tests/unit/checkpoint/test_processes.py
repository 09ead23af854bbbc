"""One run folder, several processes: one begins, the others follow; what each found damaged ends up in one list."""

from pathlib import Path

import pytest

from mplframe.checkpoint.run_folder import RunFolder
from mplframe.checkpoint.store import CheckpointStore
from mplframe.contracts.data import Damage
from mplframe.data.damaged import Damaged


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.checkpoints.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("resume", ["auto", "never", "path"])
def test_the_others_go_on_from_where_the_main_process_does(folder: RunFolder, tmp_path: Path, resume: str) -> None:
    elsewhere = CheckpointStore(tmp_path, keep=1).save(3, {"progress": {"total": 3}})
    store = CheckpointStore(folder.checkpoints, keep=2)
    if resume != "path":
        store.save(5, {"progress": {"total": 5}})
    given = str(elsewhere) if resume == "path" else resume
    begun = folder.begin(given, store)
    before = sorted(folder.path.rglob("*"))
    assert folder.follow(given, store) == begun
    assert sorted(folder.path.rglob("*")) == before
    assert (begun and begun["progress"]["total"]) == {"auto": 5, "never": None, "path": 3}[resume]


def test_what_any_process_found_damaged_is_listed_once(folder: RunFolder) -> None:
    found = [Damage(key, "a.tar", "cut off") for key in ("1", "2", "3")]
    for rank, seen in enumerate(([found[0]], [found[0], found[1]], [found[2]])):
        damaged = Damaged(9)
        damaged.keep(folder.damaged_seen_by(rank))
        for each in seen:
            damaged.add("labeled", each)
    with folder.damaged.open("a") as file:
        file.write('{"split": "lab')  # torn when a process was killed
    folder.join_damaged()
    assert [path.name for path in folder.path.glob("*.jsonl")] == ["damaged.jsonl"]
    main = Damaged(9)
    main.keep(folder.damaged)
    assert main.counts == {"labeled": 3}


def test_starting_over_removes_every_list(folder: RunFolder) -> None:
    for rank in range(3):
        folder.damaged_seen_by(rank).write_text("")
    folder.begin("never", CheckpointStore(folder.checkpoints, keep=1))
    assert not list(folder.path.glob("damaged*"))
