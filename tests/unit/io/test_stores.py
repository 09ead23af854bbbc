import asyncio
import errno
import random
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from mplframe.errors import DataError, RunError, UserError
from mplframe.io import requests as retrying
from mplframe.io.files import cache_folder
from mplframe.io.requests import RangesUnsupportedError, open_store, read_range, retry
from mplframe.io.stores import Info, StoreError, Stores, explained, info_of
from tests.unit.data.data_support import CONTENT


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(UserError, match=r"gs://bucket/a.tar: no driver for gs:// .*pip install 'mplframe\[gs\]'"):
        open_store("gs://bucket/a.tar")


def test_a_relative_path_is_that_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One program may run in several folders, in each of which the same name is another file."""
    stores = Stores()
    for name in ("one", "two"):
        (tmp_path / name / "run").mkdir(parents=True)
        (tmp_path / name / "run" / "file").write_text(name)
        monkeypatch.chdir(tmp_path / name)
        assert stores.read("run/file") == name.encode()
        assert stores.local_path("run/file") == str(tmp_path / name / "run" / "file")


def test_an_unknown_protocol_and_wrong_options() -> None:
    with pytest.raises(UserError, match=r"quux://a.tar can't be opened: .*quux"):
        open_store("quux://a.tar")
    with pytest.raises(UserError, match=r"zip://a.tar can't be opened: .*check the URL and data.storage_options"):
        open_store("zip://a.tar", {"fo": 3})


class Flaky:
    """A store whose connections die after `limit` bytes, and fail outright in the calls numbered in `refuse`."""

    def __init__(self, limit: int, refuse: tuple[int, ...] = (), short: bool = False) -> None:
        self.limit, self.refuse, self.short, self.calls = limit, refuse, short, 0

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        self.calls += 1
        if self.calls in self.refuse:
            raise ConnectionResetError("reset")
        if end - start > self.limit:
            if self.short:
                return CONTENT[start : start + self.limit]
            raise TimeoutError
        return CONTENT[start:end]


@pytest.mark.parametrize("store", [Flaky(10**9), Flaky(100_000), Flaky(100_000, short=True), Flaky(10**9, (1, 2, 4))])
def test_a_range_survives_a_bad_link(store: Flaky) -> None:
    assert read_range(store, "x", 1000, 500_000, pause=0.0) == CONTENT[1000:500_000]
    assert store.calls < 20


def test_a_dead_link_ends_with_the_drivers_error() -> None:
    store = Flaky(0)
    with pytest.raises(TimeoutError):
        read_range(store, "x", 0, 100, pause=0.0)
    assert store.calls == retrying.ATTEMPTS


def test_ignored_ranges_are_noticed() -> None:
    store = Flaky(10**9)
    store.cat_file = lambda path, start, end: CONTENT  # type: ignore[method-assign]
    with pytest.raises(RangesUnsupportedError):
        read_range(store, "x", 0, 100, pause=0.0)


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MPLFRAME_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "mplframe"
    monkeypatch.setenv("MPLFRAME_CACHE", str(tmp_path / "env"))
    assert cache_folder() == tmp_path / "env"
    assert cache_folder(str(tmp_path / "given")) == tmp_path / "given"


class StatusError(Exception):
    """As aiohttp's errors carry the answer of a server."""

    def __init__(self, status: int) -> None:
        self.status = status


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (ConnectionResetError(), retrying.ATTEMPTS),
        (StatusError(503), retrying.ATTEMPTS),
        (StatusError(429), retrying.ATTEMPTS),
        (StatusError(401), 1),
        (FileNotFoundError(), 1),
        (PermissionError(), 1),
        (OSError(errno.ENOSPC, "full"), 1),
        (DataError("changed"), 1),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, calls: int) -> None:
    made: list[int] = []

    def attempt() -> None:
        made.append(1)
        raise error

    with pytest.raises(type(error)):
        retry(attempt, pause=0.0)
    assert len(made) == calls


def test_trying_again_leaves_the_random_numbers_of_a_run_alone() -> None:
    before = random.getstate()
    with pytest.raises(TimeoutError):
        read_range(Flaky(0), "x", 0, 100, pause=0.0)
    assert random.getstate() == before


class Stalling(AsyncFileSystem):
    """A store whose connections fall silent after `limit` bytes."""

    cachable = False

    async def _cat_file(self, path: str, start: int, end: int, **kwargs: Any) -> bytes:
        if end - start > 100_000:
            await asyncio.sleep(60)
        return CONTENT[start:end]


def test_a_request_that_stalls_is_given_up() -> None:
    begun = time.monotonic()
    assert read_range(Stalling(), "x", 0, 300_000, pause=0.0, timeout=0.2) == CONTENT[:300_000]
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (FileNotFoundError(), DataError, "doesn't exist; check the URL"),
        (PermissionError("no key"), StoreError, r"access refused \(no key\); check the credentials"),
        (TimeoutError(), StoreError, "can't be read: no answer in time; check the network"),
        (RangesUnsupportedError(), StoreError, "no ranges of bytes.*set data.reader to auto"),
        (DataError("as it is"), DataError, "^as it is$"),
        (RunError("as it is"), RunError, "^as it is$"),
    ],
)
def test_a_store_that_fails_is_told_from_data_that_are_missing(
    error: Exception, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as told, explained("s3://bucket/a.tar"):
        raise error
    assert isinstance(told.value, DataError) == (kind is DataError)


def test_a_version_is_the_same_however_a_driver_writes_it() -> None:
    assert info_of({"size": 3, "ETag": '"abc"'}) == info_of({"size": 3, "ETag": "abc"}) == Info(3, "ETag=abc")
    now = datetime(2024, 5, 1, tzinfo=UTC)
    assert info_of({"size": 3, "created": now}) == info_of({"size": 3, "created": now.timestamp()})
    assert info_of({"size": None}) == Info(None, "")


def test_files_of_one_folder_share_a_filesystem(tmp_path: Path) -> None:
    at = Stores()
    (fs, path), (other, _) = at.open(f"{tmp_path}/a.tar"), at.open(f"{tmp_path}/b.tar")
    assert fs is other
    assert path == at.local_path(f"{tmp_path}/a.tar") == str(tmp_path / "a.tar")
    assert at.open("memory://bucket/a.tar")[1] == "/bucket/a.tar"
    assert at.open("memory://bucket/b.tar")[1] == "/bucket/b.tar"
    assert at.local_path("memory://bucket/b.tar") is None


def test_whether_a_store_gives_ranges_is_asked_once(memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.pipe("/r/a.tar", CONTENT)
    assert Stores().has_ranges("memory://r/a.tar")
    asked: list[int] = []
    monkeypatch.setattr(MemoryFileSystem, "cat_file", lambda *args, **kwargs: (asked.append(1), CONTENT)[1])
    at = Stores()
    assert [at.has_ranges("memory://r/a.tar") for _ in range(3)] == [False] * 3
    assert len(asked) == 1
    assert Stores(ranges=True).has_ranges("memory://r/a.tar")
    assert not Stores(ranges=False).has_ranges("memory://r/a.tar")
    assert Stores(ranges=False).has_ranges(f"{Path.cwd()}/a.tar")


def test_http_waits_for_the_next_bytes_and_not_for_the_whole_file() -> None:
    fs, _ = open_store("http://host/a.tar", {"client_kwargs": {"headers": {"X": "y"}}})
    assert fs.client_kwargs["headers"] == {"X": "y"}
    assert fs.client_kwargs["timeout"].total is None
    own = aiohttp.ClientTimeout(total=5)
    assert open_store("http://host/a.tar", {"client_kwargs": {"timeout": own}})[0].client_kwargs["timeout"] is own


@pytest.mark.parametrize(
    ("cause", "kind"),
    [(None, DataError), (StatusError(404), DataError), (TimeoutError(), StoreError), (StatusError(403), StoreError)],
)
def test_only_a_file_that_is_missing_is_called_missing(
    monkeypatch: pytest.MonkeyPatch, cause: Exception | None, kind: type[Exception]
) -> None:
    async def info(self: object, path: str, **options: object) -> None:
        raise FileNotFoundError(path) from cause

    monkeypatch.setattr("fsspec.implementations.http.HTTPFileSystem._info", info)
    monkeypatch.setattr(retrying.time, "sleep", lambda seconds: None)
    with pytest.raises(kind), explained("http://host/a.tar"):
        Stores().info("http://host/a.tar")
