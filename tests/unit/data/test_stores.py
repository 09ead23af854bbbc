import hashlib
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from mplframe.data import local, stores
from mplframe.data.local import cache_folder, local_copy
from mplframe.data.stores import RangesUnsupportedError, expand, open_store, read_range
from mplframe.errors import DataError, UserError

CONTENT = bytes(range(256)) * 2000


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    fs = fsspec.filesystem("memory")
    yield fs
    for path in fs.find("/"):
        fs.rm(path)


def test_patterns_expand_in_a_stable_order(tmp_path: Path) -> None:
    for name in ("b-1.tar", "b-0.tar", "a-1.tar", "note.txt"):
        (tmp_path / name).touch()
    at = str(tmp_path)
    assert expand(f"{at}/*.tar") == [f"{at}/{name}.tar" for name in ("a-1", "b-0", "b-1")]
    assert expand([f"{at}/b-{{0..1}}.tar", f"file://{at}/a-?.tar"]) == [f"{at}/{n}.tar" for n in ("b-0", "b-1", "a-1")]
    assert expand("s3://bucket/{000..002}.tar") == [f"s3://bucket/00{i}.tar" for i in range(3)]
    assert expand("http://host/a.tar?token=1") == ["http://host/a.tar?token=1"]


def test_globs_work_on_any_store(memory: MemoryFileSystem) -> None:
    for name in ("2", "1"):
        memory.pipe(f"/glob/{name}.tar", b"x")
    assert expand("memory://glob/*.tar") == ["memory:///glob/1.tar", "memory:///glob/2.tar"]


@pytest.mark.parametrize(
    ("urls", "message"),
    [
        ("nothing-here-*.tar", r"nothing-here-\*.tar matches no file; check the pattern"),
        ([], "empty list of shards"),
        ("a{0..1.tar", r"braces don't match .*write for example shard-\{000..099\}.tar"),
        (["a.tar", "b.tar", "a.tar"], "a.tar is named twice"),
    ],
)
def test_patterns_that_mean_nothing(urls: str | list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        expand(urls)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(UserError, match=r"gs://bucket/a.tar: no driver for gs:// .*pip install 'mplframe\[gs\]'"):
        open_store("gs://bucket/a.tar")


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
    assert store.calls == stores.ATTEMPTS


def test_ignored_ranges_are_noticed() -> None:
    store = Flaky(10**9)
    store.cat_file = lambda path, start, end: CONTENT  # type: ignore[method-assign]
    with pytest.raises(RangesUnsupportedError):
        read_range(store, "x", 0, 100, pause=0.0)


def test_local_files_are_read_in_place(tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    file.write_bytes(b"x")
    assert local_copy(str(file), tmp_path / "cache") == file
    assert local_copy(f"file://{file}", tmp_path / "cache") == file
    assert not (tmp_path / "cache").exists()
    with pytest.raises(DataError, match=r"b.tar doesn't exist; check the URL \(mplframe data pack --help"):
        local_copy(str(tmp_path / "b.tar"), tmp_path)


def test_copies_never_meet_and_follow_changes(
    memory: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "CHUNK", 100_000)
    memory.pipe("/train/000.tar", CONTENT)
    memory.pipe("/val/000.tar", CONTENT[::-1])
    train, val = (local_copy(f"memory://{split}/000.tar", tmp_path) for split in ("train", "val"))
    assert train.read_bytes() == CONTENT
    assert val.read_bytes() == CONTENT[::-1]
    inode = train.stat().st_ino
    assert local_copy("memory://train/000.tar", tmp_path).stat().st_ino == inode
    memory.pipe("/train/000.tar", CONTENT[1:] + b"!")
    assert local_copy("memory://train/000.tar", tmp_path).read_bytes() == CONTENT[1:] + b"!"
    assert not list(tmp_path.rglob("*.part"))


def test_a_short_copy_is_never_kept(memory: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.pipe("/short/000.tar", CONTENT)
    monkeypatch.setattr(stores.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(MemoryFileSystem, "cat_file", lambda self, path, start, end: CONTENT[start : end - 1])
    with pytest.raises(
        DataError, match=r"memory://short/000.tar can't be read: .*asked for 65536 bytes at 0, got 65535"
    ):
        local_copy("memory://short/000.tar", tmp_path)
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.suffix != ".lock"]


def test_copying_at_once_fetches_once(
    memory: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/once/000.tar", CONTENT)
    fetched: list[int] = []
    original = local._fetch
    monkeypatch.setattr(local, "_fetch", lambda *args: (fetched.append(1), original(*args)))
    with ThreadPoolExecutor(4) as pool:
        copies = set(pool.map(lambda _: local_copy("memory://once/000.tar", tmp_path), range(8)))
    assert len(copies) == len(fetched) == 1


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MPLFRAME_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "mplframe"
    monkeypatch.setenv("MPLFRAME_CACHE", str(tmp_path / "env"))
    assert cache_folder() == tmp_path / "env"
    assert cache_folder(str(tmp_path / "given")) == tmp_path / "given"


class Quiet(SimpleHTTPRequestHandler):
    """Python's own server, which ignores byte ranges."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def no_ranges(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "000.tar").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "www")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_http_without_byte_ranges(no_ranges: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "CHUNK", 100_000)
    assert local_copy(f"{no_ranges}/000.tar", tmp_path / "cache").read_bytes() == CONTENT
    with pytest.raises(DataError, match=r"001.tar doesn't exist"):
        local_copy(f"{no_ranges}/001.tar", tmp_path / "cache")


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of moto, werkzeug and botocore while they start
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
    host, port = server.get_host_and_port()
    options = {"key": "k", "secret": "s", "client_kwargs": {"endpoint_url": f"http://{host}:{port}"}}
    fs = fsspec.filesystem("s3", **options)
    fs.mkdir("bucket")
    fs.pipe({f"bucket/train/{i:03d}.tar": CONTENT[i:] for i in range(3)})
    yield options
    server.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_s3(s3: dict[str, Any], tmp_path: Path) -> None:
    urls = expand("s3://bucket/train/*.tar", s3)
    assert urls == [f"s3://bucket/train/{i:03d}.tar" for i in range(3)]
    for i, url in enumerate(urls):
        copy = local_copy(url, tmp_path, s3)
        assert hashlib.sha256(copy.read_bytes()).digest() == hashlib.sha256(CONTENT[i:]).digest()
        assert local_copy(url, tmp_path, s3) == copy
    with pytest.raises(DataError, match=r"s3://bucket/train/009.tar doesn't exist"):
        local_copy("s3://bucket/train/009.tar", tmp_path, s3)
    with pytest.raises(DataError, match=r"s3://no-such-bucket/\*.tar (doesn't exist|matches no file)"):
        expand("s3://no-such-bucket/*.tar", s3)
