"""Checkpoints in shards, by one process of several that might be."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mplframe.backends.fsdp import FullyShardedDataParallel
from mplframe.checkpoint import format as shards
from mplframe.checkpoint.format import load
from mplframe.checkpoint.store import BEST, CheckpointStore, Writer
from mplframe.errors import CheckpointError, RunError

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def backend() -> FullyShardedDataParallel:
    return FullyShardedDataParallel(FullyShardedDataParallel.Config(device="cpu"))


@pytest.fixture
def state(backend: FullyShardedDataParallel) -> dict[str, Any]:
    torch.manual_seed(0)
    network = backend.prepare(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)))
    return {"progress": {"total": 1}, "state": {"module": network.state_dict(), "plain": [1, None, (torch.ones(2),)]}}


@pytest.fixture
def store(backend: FullyShardedDataParallel, tmp_path: Path) -> Iterator[CheckpointStore]:
    writer = Writer(backend, background=True)
    yield CheckpointStore(tmp_path, keep=1, writer=writer)
    writer.close()
    shards._writers.cache_clear()


def folders(path: Path) -> list[str]:
    return sorted(each.name.rpartition("-")[0] for each in path.glob("*.shards"))


def test_they_are_read_whole_and_as_they_were_given(store: CheckpointStore, state: dict[str, Any]) -> None:
    path = store.save(1, state)
    expected = {
        name: tensor.full_tensor().clone() for name, tensor in state["state"]["module"].items() if tensor.ndim > 1
    }
    with torch.no_grad():
        for tensor in state["state"]["module"].values():
            tensor += 1.0
    store.writer.settle()
    found = load(path)["state"]
    assert list(found["module"]) == list(state["state"]["module"])
    for name, tensor in expected.items():
        assert type(found["module"][name]) is Tensor
        assert torch.equal(found["module"][name], tensor), name
    assert found["plain"][:2] == [1, None]


def test_old_ones_go_with_their_files_and_the_best_stays(store: CheckpointStore, state: dict[str, Any]) -> None:
    for total, best in ((1, True), (2, False), (3, False), (3, False)):
        store.save(total, state, best=best)
    store.writer.settle()
    assert folders(store.folder) == ["best", "step-000000003"]
    assert load(store.folder / BEST)["progress"] == {"total": 1}
    store.save(4, state, best=True)
    store.writer.settle()
    assert folders(store.folder) == ["best", "step-000000004"]


def test_shards_without_their_file_do_not_count(store: CheckpointStore, state: dict[str, Any]) -> None:
    """As a process leaves them that is killed while it writes."""
    store.save(1, state)
    store.writer.settle()
    (whole,) = store.folder.glob("*.shards")
    shutil.copytree(whole, store.folder / "step-000000002-killed.shards")
    newest = store.newest()
    assert newest is not None
    assert newest[0].name == "step-000000001.pt"
    store.save(3, state)
    store.writer.settle()
    assert folders(store.folder) == ["step-000000003"]


def test_what_is_not_all_there_is_refused(store: CheckpointStore, state: dict[str, Any]) -> None:
    path = store.save(1, state)
    store.writer.settle()
    (folder,) = store.folder.glob("*.shards")
    shapes = {f"state/module/{i}.weight": shape for i, shape in enumerate([torch.Size([4, 3]), torch.Size([2, 4])])}
    shards.check_complete(folder, shapes)
    with pytest.raises(RunError, match="incomplete: state/lost is not all there"):
        shards.check_complete(folder, {**shapes, "state/lost": torch.Size([1])})
    with pytest.raises(RunError, match=r"incomplete: state/module/0\.weight"):
        shards.check_complete(folder, {**shapes, "state/module/0.weight": torch.Size([5, 3])})
    with pytest.raises(RunError, match=r"holds state/module/1\.weight, which it wasn't given"):
        shards.check_complete(folder, {"state/module/0.weight": torch.Size([4, 3])})
    part = next(folder.glob("*.distcp"))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with pytest.raises(CheckpointError, match="its checksum doesn't fit"):
        load(path)
    part.unlink()
    with pytest.raises(CheckpointError, match=r"lacks __0_0\.distcp"):
        load(path)


def test_no_code_of_a_checkpoint_is_run(store: CheckpointStore, state: dict[str, Any], tmp_path: Path) -> None:
    path = store.save(1, state)
    store.writer.settle()
    (folder,) = store.folder.glob("*.shards")

    class Harm:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "harm",)

    (folder / ".metadata").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(CheckpointError, match="has no place in a checkpoint"):
        load(path)
    assert not (tmp_path / "harm").exists()
