import json
import math
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mplframe.checkpoint.format import load, save
from mplframe.checkpoint.store import BEST, CheckpointStore
from mplframe.contracts.batch import mapped
from mplframe.errors import CheckpointError
from mplframe.randomness import rng_state


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


def test_a_kill_between_the_best_and_its_step_leaves_no_step_that_believes_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def cut_off(path: Path, state: dict[str, object]) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path.name)
        save(path, state)

    monkeypatch.setattr("mplframe.checkpoint.store.save", cut_off)
    with pytest.raises(KeyboardInterrupt):
        CheckpointStore(tmp_path, keep=2).save(1, payload(1), best=True)
    assert names(tmp_path) == [BEST]


@pytest.mark.parametrize(
    ("kept", "remembered", "agree"),
    [
        ((10, 0.5), 0.5, True),
        ((10, 0.4), 0.5, False),
        ((30, 0.5), 0.5, False),
        ((10, 0.5), None, False),
        (None, 0.5, False),
    ],
    ids=["the same", "an older best", "of a later life", "none is remembered", "there is none"],
)
def test_the_best_file_and_the_best_value_agree_when_a_run_goes_on(
    tmp_path: Path, kept: tuple[int, float] | None, remembered: float | None, agree: bool
) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    if kept is not None:
        save(tmp_path / BEST, {"progress": {"total": kept[0], "best": kept[1]}})
    state = {"progress": {"total": 20, "best": remembered}}
    store.settle_best(state)
    assert (state["progress"]["best"], (tmp_path / BEST).exists()) == ((remembered, True) if agree else (None, False))


def test_damaged_checkpoints_take_no_place_of_whole_ones(tmp_path: Path) -> None:
    store = filled(tmp_path, 5, 30, 35, keep=3)
    for total in (30, 35):
        truncated(tmp_path / f"step-{total:09d}.pt")
    with pytest.warns(RuntimeWarning, match="passing over"):
        assert found(store) == 5
    store.save(10, payload(10))
    assert names(tmp_path) == ["step-000000005.pt", "step-000000010.pt"]


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
    with pytest.raises(CheckpointError, match=r"x\.pt (can't be read as a|isn't an mplframe) checkpoint"):
        load(path)
    assert not trap.exists()
    if write == "torch":
        torch.load(path, weights_only=False)
        assert trap.exists()  # so that the trap would have shown


def rewritten(path: Path, change: Callable[[dict[str, Any]], object], target: Path, **how: Any) -> Path:
    """A checkpoint whose JSON somebody has changed, with all checksums right."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            if info.filename.endswith("state.json"):
                found = json.loads(content)
                change(found)
                content = json.dumps(found).encode()
            new.writestr(info.filename, content, **how)
    return target


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda found: found["tensors"][0].update(shape=[10**6, 10**6], stride=[0, 0]), {}),
        (lambda found: found["tensors"][0].update(stride=[2]), {}),
        (lambda found: found["tensors"][0].update(stride=[-1]), {}),
        (lambda found: found["tensors"][0].update(dtype="float64"), {}),
        (lambda found: found["tensors"][0].update(dtype="load"), {}),
        (lambda found: found["tensors"][0].update(record=7), {}),
        (lambda found: found["tensors"][0].update(record="../0"), {}),
        (lambda found: found.update(more=1), {}),
        (lambda found: found.update(content={"tensor": 5}), {}),
        (lambda found: found.update(content={"global": "os.system"}), {}),
        (lambda found: found.update(content={"dict": [[[], 1]]}), {}),
        (lambda found: found.pop("tensors"), {}),
        (lambda found: None, {"compress_type": zipfile.ZIP_DEFLATED}),
    ],
)
def test_what_the_json_may_say_is_bounded(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], how: dict[str, Any]
) -> None:
    save(tmp_path / "x.pt", payload(1))
    assert load(rewritten(tmp_path / "x.pt", lambda found: None, tmp_path / "same.pt"))["progress"] == {"total": 1}
    with pytest.raises(CheckpointError, match=r"y\.pt can't be read as a checkpoint"):
        load(rewritten(tmp_path / "x.pt", change, tmp_path / "y.pt", **how))


def test_json_too_deep_to_read_is_damage(tmp_path: Path) -> None:
    save(tmp_path / "x.pt", payload(1))
    deep = "[" * 100_000 + "]" * 100_000
    with zipfile.ZipFile(tmp_path / "y.pt", "w") as archive:
        archive.writestr("archive/state.json", f'{{"tensors": [], "content": {deep}}}')
    with pytest.raises(CheckpointError, match="can't be read as a checkpoint"):
        load(tmp_path / "y.pt")


def test_every_bit_comes_back_and_torch_reads_the_same(tmp_path: Path) -> None:
    flat = torch.randn(6)
    network = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3)).to(memory_format=torch.channels_last)
    content = {
        "views": [flat[:2], flat[2:], flat.view(2, 3).t(), flat.expand(2, 6)],
        "same": [flat, flat],
        "kinds": [torch.tensor([True]), torch.tensor(1.5, dtype=torch.bfloat16), torch.empty(0, 3), torch.tensor(1j)],
        "numbers": [0.1, float("inf"), -0.0, 2**70, True, None, (1, "é\ud800"), [{}]],
        1: network.state_dict(),
        "rng": rng_state(),
        "none": {},
    }
    save(tmp_path / "x.pt", content)
    ours, theirs = load(tmp_path / "x.pt"), torch.load(tmp_path / "x.pt", weights_only=True)
    ours.pop("format")
    for found in (ours, {key: theirs[key] for key in content}):
        assert list(found) == list(content)
        assert json.dumps(found["numbers"]) == json.dumps(content["numbers"])
        assert found["rng"]["python"] == content["rng"]["python"]  # type: ignore[index]
        paths: dict[str, torch.Tensor] = {}
        mapped(content, lambda path, tensor, paths=paths: paths.update({path: tensor}))
        kept: dict[str, torch.Tensor] = {}
        mapped(found, lambda path, tensor, kept=kept: kept.update({path: tensor}))
        assert paths.keys() == kept.keys()
        for path, tensor in paths.items():
            assert kept[path].dtype == tensor.dtype
            assert torch.equal(kept[path], tensor), path
    assert math.copysign(1, ours["numbers"][2]) == -1
    assert isinstance(ours["numbers"][6], tuple)
    assert ours["same"][0] is ours["same"][1]
    assert ours[1]["0.weight"].is_contiguous(memory_format=torch.channels_last)
    assert ours[1]._metadata == network.state_dict()._metadata  # type: ignore[attr-defined]


def test_what_is_neither_a_tensor_nor_plain_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not a PosixPath"):
        save(tmp_path / "x.pt", {"state": tmp_path})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [{"state": 1}, {"format": 99}, [1, 2], torch.ones(2)])
def test_what_is_no_checkpoint_of_ours_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="isn't an mplframe checkpoint of format 1"):
        load(tmp_path / "x.pt")


def test_a_checkpoint_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    for path in (tmp_path / "x.pt", tmp_path):
        with pytest.raises(CheckpointError, match="no checkpoint at"):
            load(path)
