from __future__ import annotations

from pathlib import Path

import pytest
from data_support import write_shards
from fsspec.implementations.memory import MemoryFileSystem

from mplframe.api.datasets import data_index
from mplframe.data.shards.index import index_shard
from mplframe.data.shards.index_files import read_sidecar, sidecar_bytes
from mplframe.errors import DataError, UserError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLFRAME_CACHE", str(tmp_path / "cache"))


def states(target: str, **options: bool) -> list[str]:
    return [shard["state"] for shard in data_index(target, **options)]


def test_what_is_missing_is_made_once(tmp_path: Path) -> None:
    urls = write_shards(tmp_path / "shards", [3, 4])
    target = str(tmp_path / "shards/*.tar")
    assert states(target, check=True) == ["missing", "missing"]
    assert not list((tmp_path / "shards").glob("*.idx"))
    assert states(target) == ["made", "made"]
    for url in urls:
        assert Path(f"{url}.idx").read_bytes() == sidecar_bytes(index_shard(Path(url)))
    assert states(target) == states(target, check=True) == ["fits", "fits"]


def test_an_index_of_another_shard_is_made_again(tmp_path: Path) -> None:
    write_shards(tmp_path / "shards", [3])
    target = str(tmp_path / "shards/*.tar")
    data_index(target)
    write_shards(tmp_path / "shards", [5])
    assert states(target, check=True) == ["missing"]
    assert data_index(target) == [
        {"shard": str(tmp_path / "shards/part-000.tar"), "state": "made", "samples": 5, "damaged": 0}
    ]


def test_an_index_that_lies_is_found(tmp_path: Path) -> None:
    """Of the same size, with the same first headers, but with other content than the shard says."""
    (url,) = write_shards(tmp_path / "shards", [3])
    index = index_shard(Path(url))
    index.length[1] -= 1
    Path(f"{url}.idx").write_bytes(sidecar_bytes(index))
    assert states(url, check=True) == ["missing"]
    assert states(url) == ["made"]


def test_in_a_store(tmp_path: Path, memory: MemoryFileSystem) -> None:
    (path,) = write_shards(tmp_path / "shards", [6])
    memory.pipe("/bucket/x.tar", Path(path).read_bytes())
    assert states("memory://bucket/x.tar") == ["made"]
    assert len(read_sidecar(memory.cat_file("/bucket/x.tar.idx"))) == 6
    assert states("memory://bucket/x.tar", check=True) == ["fits"]


def test_damage_is_counted(tmp_path: Path) -> None:
    (url,) = write_shards(tmp_path / "shards", [6])
    Path(url).write_bytes(Path(url).read_bytes()[:4000])
    (shard,) = data_index(url)
    assert shard["state"] == "made"
    assert shard["damaged"] >= 1
    assert shard["samples"] < 6


def test_nothing_to_index(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("data: {name: digits}\n")
    with pytest.raises(UserError, match="'digits' isn't made of shards"):
        data_index(str(tmp_path / "x.yaml"))
    with pytest.raises(DataError, match=r"nothing\.tar doesn't exist"):
        data_index(str(tmp_path / "nothing.tar"))
