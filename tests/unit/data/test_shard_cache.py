import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from data_support import CONTENT
from fsspec.implementations.memory import MemoryFileSystem

from mplframe.data.shards import cache as shard_cache
from mplframe.data.shards.cache import ShardCache
from mplframe.data.shards.listing import Shard, list_shards
from mplframe.errors import DataError, RunError, UserError
from mplframe.io import requests as retrying
from mplframe.io.stores import Stores

STORES = Stores()
SIZE = len(CONTENT)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_cache, "CHUNK", 100_000)
    monkeypatch.setattr(retrying.time, "sleep", lambda seconds: None)


@contextmanager
def opened(cache: ShardCache, shard: Shard) -> Iterator[int]:
    file = cache.open(shard)
    yield file
    os.close(file)


def content(cache: ShardCache, shard: Shard) -> bytes:
    with opened(cache, shard) as file:
        return os.pread(file, SIZE + 1, 0)


def put(memory: MemoryFileSystem, path: str, data: bytes = CONTENT) -> Shard:
    memory.pipe(path, data)
    return list_shards(f"memory:/{path}", STORES)[0]


def copies(folder: Path) -> list[str]:
    """The basenames of what is kept."""
    return sorted(file.name[33:] for file in folder.iterdir() if file.is_file())


@pytest.mark.parametrize("ranges", [True, False])
def test_copies_never_meet_and_follow_changes(memory: MemoryFileSystem, tmp_path: Path, ranges: bool) -> None:
    cache = ShardCache(tmp_path, 10 * SIZE, Stores(ranges=ranges))
    train, val = put(memory, "/train/000.tar"), put(memory, "/val/000.tar", CONTENT[::-1])
    assert content(cache, train) == CONTENT
    assert content(cache, val) == CONTENT[::-1]
    changed = put(memory, "/train/000.tar", CONTENT[1:] + b"!")
    assert content(cache, changed) == CONTENT[1:] + b"!"
    assert content(cache, train) == CONTENT  # still kept, as what it was
    assert copies(tmp_path) == ["000.tar"] * 3


def test_a_shard_that_changed_since_it_was_listed_is_not_kept(memory: MemoryFileSystem, tmp_path: Path) -> None:
    listed = put(memory, "/changed/000.tar")
    put(memory, "/changed/000.tar", CONTENT[::-1])
    with pytest.raises(DataError, match="was changed while it was in use"):
        ShardCache(tmp_path, 10 * SIZE, STORES).open(listed)
    assert copies(tmp_path) == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_short_copy_is_never_kept(
    memory: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranges: bool
) -> None:
    shard = put(memory, "/short/000.tar")
    monkeypatch.setattr(MemoryFileSystem, "cat_file", lambda self, path, start, end: CONTENT[start : end - 1])
    monkeypatch.setattr(MemoryFileSystem, "get_file", lambda self, path, local: Path(local).write_bytes(b"x"))
    with pytest.raises(EOFError):
        ShardCache(tmp_path, 10 * SIZE, Stores(ranges=ranges)).open(shard)
    assert copies(tmp_path) == []


def test_the_least_recently_used_go_first(memory: MemoryFileSystem, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 3 * SIZE, STORES)
    shards = [put(memory, f"/lru/{i}.tar") for i in range(5)]
    for age, shard in zip((500, 400, 300), shards, strict=False):
        content(cache, shard)
        (copy,) = tmp_path.glob(f"{shard.identity}*")
        os.utime(copy, (time.time() - age,) * 2)
    content(cache, shards[0])
    content(cache, shards[3])
    assert copies(tmp_path) == ["0.tar", "2.tar", "3.tar"]
    content(cache, shards[4])
    assert copies(tmp_path) == ["0.tar", "3.tar", "4.tar"]
    content(ShardCache(tmp_path, SIZE, STORES), shards[1])
    assert copies(tmp_path) == ["1.tar"]


def test_what_is_removed_while_it_is_open_can_still_be_read(memory: MemoryFileSystem, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, SIZE, STORES)
    first, second = put(memory, "/open/0.tar"), put(memory, "/open/1.tar", CONTENT[::-1])
    with opened(cache, first) as file:
        assert content(cache, second) == CONTENT[::-1]
        assert copies(tmp_path) == ["1.tar"]
        assert os.pread(file, SIZE, 0) == CONTENT
    assert content(cache, first) == CONTENT


def test_a_copy_that_lost_bytes_is_fetched_again(memory: MemoryFileSystem, tmp_path: Path) -> None:
    cache, shard = ShardCache(tmp_path, SIZE, STORES), put(memory, "/lost/0.tar")
    content(cache, shard)
    (copy,) = tmp_path.glob("*.tar")
    copy.write_bytes(b"")
    assert content(cache, shard) == CONTENT


def test_parts_of_killed_processes_go_and_those_of_others_count(memory: MemoryFileSystem, tmp_path: Path) -> None:
    cache, shards = ShardCache(tmp_path, 3 * SIZE, STORES), [put(memory, f"/parts/{i}.tar") for i in range(3)]
    content(cache, shards[0])
    stale, live = tmp_path / "stale.part", tmp_path / "live.part"
    for part in (stale, live):
        part.write_bytes(CONTENT)
    os.utime(stale, (1, 1))
    content(cache, shards[1])
    assert not stale.exists()
    assert live.exists()
    assert len(list(tmp_path.glob("*.tar"))) == 2
    content(cache, shards[2])
    assert len(list(tmp_path.glob("*.tar"))) == 2  # with the live part, all there is room for


def test_threads_that_ask_at_once_fetch_once(
    memory: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard, fetched = put(memory, "/once/000.tar"), []
    original = shard_cache._fetch_ranges
    monkeypatch.setattr(shard_cache, "_fetch_ranges", lambda *args: (fetched.append(1), original(*args)))
    cache = ShardCache(tmp_path, 10 * SIZE, STORES)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: content(cache, shard), range(8))) == {CONTENT}
    assert len(fetched) == 1


PROCESS = """
import os, random, sys
from pathlib import Path
from mplframe.data.shards.cache import ShardCache
from mplframe.data.shards.listing import list_shards
from mplframe.io import requests as retrying
from mplframe.io.stores import Stores
source, folder, seed = sys.argv[1:]
stores = Stores({"simplecache": {"cache_storage": folder + "/below" + seed}})
shards = list_shards(f"zip://*.tar::{source}", stores)
cache = ShardCache(Path(folder) / "shards", 3 * shards[0].size, stores)
for shard in random.Random(seed).choices(shards, k=40):
    file = cache.open(shard)
    wanted = bytes([int(Path(shard.url.partition("::")[0]).stem)]) * shard.size
    assert os.pread(file, shard.size, 0) == wanted
    os.close(file)
    taken = [f.stat().st_size for f in os.scandir(cache._folder) if f.name.endswith(".tar")]
    assert sum(taken) <= cache.bound
"""


def test_processes_share_a_cache_that_is_too_small_for_them(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for number in range(6):
            archive.writestr(f"{number}.tar", bytes([number]) * 50_000)
    command = [sys.executable, "-c", PROCESS, str(tmp_path / "all.zip"), str(tmp_path)]
    running = [subprocess.Popen([*command, str(seed)], stderr=subprocess.PIPE, text=True) for seed in range(3)]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    left = [file for file in (tmp_path / "shards").iterdir() if file.is_file()]
    assert len(left) == 3
    assert {file.stat().st_size for file in left} == {50_000}


def test_a_full_disk_and_a_folder_that_cannot_be_written(
    memory: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = put(memory, "/full/0.tar")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/shards can't be written .*data.cache_mb to 0"):
        ShardCache(tmp_path / "file" / "shards", SIZE, STORES).open(shard)

    def full(*args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shard_cache.os, "pwrite", full)
    with pytest.raises(RunError, match="the disk is full: no room for a copy"):
        ShardCache(tmp_path / "full", SIZE, STORES).open(shard)
    assert copies(tmp_path / "full") == []
