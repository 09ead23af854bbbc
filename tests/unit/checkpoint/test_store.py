import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from mplframe.checkpoint.format import load, save
from mplframe.checkpoint.store import BEST, CheckpointStore
from mplframe.errors import CheckpointError


def payload(total: int) -> dict[str, Any]:
    return {"progress": {"total": total}, "state": {"weight": torch.full((50,), float(total))}}


def filled(folder: Path, *totals: int, keep: int = 9) -> CheckpointStore:
    store = CheckpointStore(folder, keep=keep)
    for total in totals:
        store.save(total, payload(total))
    return store


def found(store: CheckpointStore) -> int:
    newest = store.newest()
    assert newest is not None
    return int(newest[1]["progress"]["total"])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    content = {
        "a": torch.arange(3),
        "b": [1, "x", None, 2.5, {"c": (True, torch.float64)}],
        "d": {"e": torch.ones(2, 2)},
    }
    save(tmp_path / "x.pt", content)
    loaded = load(tmp_path / "x.pt")
    assert loaded.pop("format") == 1
    assert torch.equal(loaded.pop("a"), content["a"])  # type: ignore[arg-type]
    assert torch.equal(loaded.pop("d")["e"], torch.ones(2, 2))
    assert loaded == {"b": content["b"]}


def test_the_newest_is_that_of_the_latest_step(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path, keep=2).newest() is None
    assert found(filled(tmp_path, 9, 100, 20)) == 100


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    filled(tmp_path, 1, 2, 3, 4, keep=2)
    assert names(tmp_path) == ["step-000000003.pt", "step-000000004.pt"]


def test_the_best_stays_though_its_step_goes(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    for total, best in ((1, True), (2, False), (3, False)):
        store.save(total, payload(total), best=best)
    assert names(tmp_path) == [BEST, "step-000000003.pt"]
    assert load(tmp_path / BEST)["progress"]["total"] == 1
    store.save(4, payload(4), best=True)
    assert load(tmp_path / BEST)["progress"]["total"] == 4


def test_a_step_saved_again_is_replaced(tmp_path: Path) -> None:
    store = filled(tmp_path, 5, keep=1)
    store.save(5, {**payload(5), "extra": 1})
    assert load(tmp_path / "step-000000005.pt")["extra"] == 1


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def overwritten(path: Path) -> None:
    path.write_bytes(b"not a checkpoint")


def flipped(path: Path) -> None:
    """Bits turned in the middle of the tensor, as a bad disk does."""
    content = bytearray(path.read_bytes())
    at = content.find(torch.full((50,), 2.0).numpy().tobytes())
    assert at > 0
    content[at + 8 : at + 12] = b"\xff" * 4
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncated, emptied, overwritten, flipped])
def test_a_damaged_newest_is_passed_over_with_a_warning(tmp_path: Path, damage: Any) -> None:
    store = filled(tmp_path, 1, 2)
    damage(tmp_path / "step-000000002.pt")
    with pytest.warns(RuntimeWarning, match=r"passing over a checkpoint: .*step-000000002\.pt"):
        assert found(store) == 1


def test_where_all_are_damaged_there_is_none(tmp_path: Path) -> None:
    store = filled(tmp_path, 1)
    truncated(tmp_path / "step-000000001.pt")
    with pytest.warns(RuntimeWarning, match="passing over"):
        assert store.newest() is None


def test_a_write_that_was_cut_short_is_not_a_checkpoint(tmp_path: Path) -> None:
    store = filled(tmp_path, 1)
    (tmp_path / ".step-000000002.pt.abc.part").write_bytes(b"half")
    (tmp_path / "step-2.pt").write_bytes(b"somebody's")
    assert found(store) == 1


class Malicious:
    """Makes a folder when it is unpickled by a careless reader."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", ["torch", "pickle"])
def test_reading_runs_no_code(tmp_path: Path, write: str) -> None:
    trap, path = tmp_path / "trap", tmp_path / "x.pt"
    content = {"format": 1, "state": Malicious(trap)}
    if write == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match=r"x\.pt can't be read as a checkpoint"):
        load(path)
    assert not trap.exists()
    if write == "torch":
        torch.load(path, weights_only=False)
        assert trap.exists()  # so that the trap would have shown


@pytest.mark.parametrize("content", [{"state": 1}, {"format": 99}, [1, 2], torch.ones(2)])
def test_what_is_no_checkpoint_of_ours_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="isn't an mplframe checkpoint of format 1"):
        load(tmp_path / "x.pt")


def test_a_checkpoint_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    for path in (tmp_path / "x.pt", tmp_path):
        with pytest.raises(CheckpointError, match="no checkpoint at"):
            load(path)
