import tarfile
from pathlib import Path

import pytest
from data_support import write_shards
from fsspec.implementations.memory import MemoryFileSystem

from mplframe.data.shards import index_files as index_cache
from mplframe.data.shards.access import Access
from mplframe.data.shards.index import ShardIndex
from mplframe.data.shards.index_files import Indexes, sidecar_url, write_index
from mplframe.data.shards.listing import list_shards
from mplframe.io.stores import Stores

STORES = Stores()


def get(url: str, cache: Path) -> ShardIndex:
    (shard,) = list_shards(url, STORES)
    return Indexes(cache, STORES).get(shard, Access([shard], STORES, None).of(shard))


def keys(index: ShardIndex) -> list[str]:
    return [index.key(i) for i in range(len(index))]


def forbid_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_cache, "index_file", lambda *args: pytest.fail("scanned"))


def test_a_shard_is_scanned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, cache = write_shards(tmp_path, [5])[0], tmp_path / "cache"
    first = get(url, cache)
    forbid_scans(monkeypatch)
    assert keys(get(url, cache)) == keys(first) == [f"{i:05d}" for i in range(5)]


def test_a_changed_shard_is_scanned_again(tmp_path: Path) -> None:
    url, cache = write_shards(tmp_path, [5])[0], tmp_path / "cache"
    assert len(get(url, cache)) == 5
    write_shards(tmp_path, [6])
    assert len(get(url, cache)) == 6


def test_a_kept_index_that_is_damaged_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url, cache = write_shards(tmp_path, [5])[0], tmp_path / "cache"
    get(url, cache)
    (kept,) = (cache / "index").iterdir()
    kept.write_bytes(kept.read_bytes()[:-40])
    assert len(get(url, cache)) == 5
    assert "is damaged" in caplog.text
    (tmp_path / "file").touch()
    assert len(get(url, tmp_path / "file")) == 5
    assert "can't be kept" in caplog.text


def test_the_index_beside_a_shard_is_taken(
    tmp_path: Path, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(write_shards(tmp_path, [5])[0])
    sidecar = write_index(path)
    forbid_scans(monkeypatch)
    assert len(get(str(path), tmp_path / "cache")) == 5
    memory.pipe("/beside/a.tar", path.read_bytes())
    memory.pipe("/beside/a.tar.idx", sidecar.read_bytes())
    assert len(get("memory://beside/a.tar", tmp_path / "cache")) == 5
    memory.rm("/beside/a.tar.idx")
    assert len(get("memory://beside/a.tar", tmp_path / "cache")) == 5  # now it is kept


@pytest.mark.parametrize("remote", [False, True])
def test_the_index_of_another_shard_is_not_believed(
    tmp_path: Path, memory: MemoryFileSystem, caplog: pytest.LogCaptureFixture, remote: bool
) -> None:
    (path,) = map(Path, write_shards(tmp_path, [5]))
    write_index(path)
    size = path.stat().st_size
    with tarfile.open(path, "w") as tar:
        for name in ("a.jpg", "b.jpg"):
            tar.addfile(tarfile.TarInfo(name))
    with path.open("ab") as file:
        file.truncate(size)  # as large as before: only the headers tell
    if remote:
        memory.put(f"{tmp_path}/*", "/other/")
    url = "memory://other/part-000.tar" if remote else str(path)
    assert keys(get(url, tmp_path / "cache")) == ["a", "b"]
    assert ".idx isn't used: it was made of another shard than" in caplog.text


def test_a_foreign_file_beside_a_shard_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = write_shards(tmp_path, [5])[0]
    Path(f"{url}.idx").write_text("v1.2 5\n0 1024\n")
    assert len(get(url, tmp_path / "cache")) == 5
    assert "part-000.tar.idx isn't used: it isn't an index of mplframe" in caplog.text


@pytest.mark.parametrize(
    ("url", "beside"),
    [
        ("/d/a.tar", "/d/a.tar.idx"),
        ("s3://b/a.tar", "s3://b/a.tar.idx"),
        ("https://h/a.tar?token=x/y", "https://h/a.tar.idx?token=x/y"),
        ("/d/what?.tar", "/d/what?.tar.idx"),
        ("zip://a.tar::s3://b/c.zip", "zip://a.tar.idx::s3://b/c.zip"),
        ("simplecache::https://h/a.tar?t", "simplecache::https://h/a.tar.idx?t"),
    ],
)
def test_where_the_index_of_a_shard_lies(url: str, beside: str) -> None:
    assert sidecar_url(url) == beside
