"""Checkpoints in shards, by one process of several that might be."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mplframe.backends.fsdp import FullyShardedDataParallel
from mplframe.checkpoint import shards
from mplframe.checkpoint.format import load, save
from mplframe.checkpoint.shards import Chunk, Cut, Shards
from mplframe.checkpoint.store import BEST, CheckpointStore, Writer
from mplframe.errors import CheckpointError, RunError
from mplframe.io.files import digest

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
    found = described(path)
    shapes = {f"state/module/{i}.weight": shape for i, shape in enumerate([torch.Size([4, 3]), torch.Size([2, 4])])}
    shards.check_complete(folder, found, shapes)
    with pytest.raises(RunError, match="incomplete: state/lost is not all there"):
        shards.check_complete(folder, found, {**shapes, "state/lost": torch.Size([1])})
    with pytest.raises(RunError, match=r"incomplete: state/module/0\.weight"):
        shards.check_complete(folder, found, {**shapes, "state/module/0.weight": torch.Size([5, 3])})
    with pytest.raises(RunError, match=r"holds state/module/1\.weight, which it wasn't given"):
        shards.check_complete(folder, found, {"state/module/0.weight": torch.Size([4, 3])})
    part = next(folder.glob("*.safetensors"))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with pytest.raises(CheckpointError, match="its checksum doesn't fit"):
        load(path)
    part.unlink()
    with pytest.raises(CheckpointError, match=r"lacks part-00000\.safetensors"):
        load(path)


def described(path: Path) -> Shards:
    with zipfile.ZipFile(path) as archive:
        content = json.loads(archive.read("archive/state.json"))["content"]
    return Shards.model_validate(_plain(dict(content["dict"])["shards"]))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value["dict"]}
    return [_plain(each) for each in value] if isinstance(value, list) else value


WEIGHT = "state/module/0.weight"


def _chunk(found: dict[str, Any], **change: Any) -> None:
    found["tensors"][WEIGHT]["chunks"][0].update(change)


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.update(folder="../x.shards"),
        lambda found: found.update(folder="/tmp/x.shards"),
        lambda found: found["files"].update({"../part-00000.safetensors": [1, "0"]}),
        lambda found: found["files"].update({"/etc/passwd": [1, "0"]}),
        lambda found: _chunk(found, file=".metadata"),
        lambda found: _chunk(found, file="part-00009.safetensors"),
        lambda found: _chunk(found, offset=[1, 0]),
        lambda found: _chunk(found, offset=[0]),
        lambda found: _chunk(found, shape=[2, 6]),
        lambda found: _chunk(found, bytes=3),
        lambda found: found["tensors"][WEIGHT].update(shape=[10**9, 10**9]),
        lambda found: found["tensors"][WEIGHT].update(dtype="bytes"),
        lambda found: found["tensors"][WEIGHT].update(dtype="float64"),
        lambda found: found["tensors"].update({"state/x": found["tensors"][WEIGHT]}),
        lambda found: found["tensors"].pop(WEIGHT),
    ],
)
def test_what_a_stranger_says_of_shards_is_checked(
    store: CheckpointStore, state: dict[str, Any], change: Callable[[dict[str, Any]], object]
) -> None:
    path = store.save(1, state)
    store.writer.settle()
    content = load(path)
    found = described(path).model_dump(mode="json")
    inside = {"0.weight": {".shards": WEIGHT}, "1.weight": {".shards": "state/module/1.weight"}}
    content["state"]["module"].update(inside)
    save(path, {**content, "format": 2, "shards": found})
    assert load(path)["state"]["module"]["0.weight"].shape == (4, 3)
    change(found)
    save(path, {**content, "format": 2, "shards": found})
    with pytest.raises(CheckpointError, match=r"can't be read as a checkpoint|is damaged|isn't whole"):
        load(path)


def test_tensors_are_put_together_from_any_number_of_parts(tmp_path: Path) -> None:
    """As by a run that goes on with other numbers of processes."""
    whole = torch.arange(35.0).reshape(7, 5)
    files, chunks = {}, []
    (tmp_path / "x.shards").mkdir()
    for number, (begin, end) in enumerate([(0, 3), (3, 4), (4, 7)]):
        name = f"part-{number:05d}.safetensors"
        file = tmp_path / "x.shards" / name
        save_file({f"w@{begin},0": whole[begin:end].clone()}, file)
        files[name] = digest(file)
        chunks.append(Chunk(file=name, offset=(begin, 0), shape=(end - begin, 5)))
    found = Shards(
        folder="x.shards", files=files, tensors={"w": Cut(dtype="float32", shape=(7, 5), chunks=tuple(chunks))}
    )
    assert torch.equal(shards.read(tmp_path, found, torch.empty)["w"], whole)
    shards.check_complete(tmp_path, found, {"w": whole.shape})
    torn = found.model_copy(update={"tensors": {"w": Cut(dtype="float32", shape=(7, 5), chunks=tuple(chunks[:2]))}})
    with pytest.raises(CheckpointError, match="w is not all there"):
        shards.read(tmp_path, torn, torch.empty)
