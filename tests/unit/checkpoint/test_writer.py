"""Writing beside the training: nothing is torn, nothing changes under the pen, and errors are told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mplframe.checkpoint import store as writing
from mplframe.checkpoint.format import load
from mplframe.checkpoint.store import CheckpointStore, Writer
from mplframe.errors import RunError


@pytest.fixture
def beside() -> Iterator[Writer]:
    writer = Writer(background=True)
    yield writer
    writer.close()


def test_what_changes_while_it_is_written_is_saved_as_it_was(
    beside: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, save = threading.Event(), writing.save

    def slow(path: Path, payload: Any) -> None:
        assert go.wait(30)
        save(path, payload)

    monkeypatch.setattr(writing, "save", slow)
    weight, plain = torch.zeros(3), {"lr": [0.1]}
    beside.write(tmp_path / "x.pt", {"state": {"weight": weight, "plain": plain}})
    weight += 1
    plain["lr"][0] = 0.2
    assert not (tmp_path / "x.pt").exists(), "the caller waits for it"
    go.set()
    beside.settle()
    assert load(tmp_path / "x.pt")["state"]["weight"].tolist() == [0.0, 0.0, 0.0]
    assert load(tmp_path / "x.pt")["state"]["plain"] == {"lr": [0.1]}


def test_a_write_that_fails_is_told_at_the_next_and_leaves_the_last_one(tmp_path: Path, beside: Writer) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep=2, writer=beside)
    store.folder.mkdir()
    store.save(1, {"progress": {"total": 1}})
    beside.settle()

    def full() -> None:
        raise RunError("the disk is full")

    beside.write(tmp_path / "y.pt", {}, then=full)
    with pytest.raises(RunError, match="the disk is full"):
        store.save(2, {"progress": {"total": 2}})
    assert [path.name for path in store.paths()] == ["step-000000001.pt"]
    store.save(3, {"progress": {"total": 3}})
    beside.settle()
    assert [path.name for path in store.paths()] == ["step-000000003.pt", "step-000000001.pt"]
