"""Packing into stores."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from moto.server import ThreadedMotoServer

from mplframe.data.packing.pack import PackOptions, ShardLimits, pack_splits
from mplframe.data.readers.arrays import ArrayReader
from mplframe.data.shards.source import WebDataset
from mplframe.errors import UserError
from mplframe.io.output import local_folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPLFRAME_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pack(out: Path | str, **options: object) -> None:
    images = np.random.default_rng(0).integers(0, 256, (23, 5, 4, 3), dtype=np.uint8)
    reader = ArrayReader(images, np.arange(23) % 3, classes=["ant", "bee", "cow"], where="memory")
    pack_splits(out, labeled=reader, options=PackOptions(limits=ShardLimits(max_count=5), **options))


def stored(fs: MemoryFileSystem, folder: str) -> dict[str, bytes]:
    return {path.rpartition("/")[2]: fs.cat_file(path) for path in fs.find(folder)}


def local(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_store_gets_what_a_folder_gets(memory: MemoryFileSystem, tmp_path: Path, cache: Path) -> None:
    pack("memory://bucket/shards")
    pack(tmp_path / "out")
    assert stored(memory, "/bucket/shards") == local(tmp_path / "out")
    assert not list((cache / "uploads").iterdir())


def test_the_description_comes_last_and_an_interrupted_upload_goes_on(
    memory: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    send = MemoryFileSystem.put_file

    def fails(fs: MemoryFileSystem, path: str, target: str, **kwargs: object) -> None:
        sent.append(target.rpartition("/")[2])
        if len(sent) == 6:
            raise PermissionError("not today")
        send(fs, path, target, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, "put_file", fails)
    with pytest.raises(UserError, match=r"memory://bucket/shards: can't be written: not today; check .* credentials"):
        pack("memory://bucket/shards")
    assert "dataset.json" not in stored(memory, "/bucket/shards")
    pack("memory://bucket/shards")
    assert sent[6:] == [
        "labeled-00002.tar", "labeled-00002.tar.idx", "labeled-00003.tar", "labeled-00003.tar.idx",
        "labeled-00004.tar", "labeled-00004.tar.idx", "classes.txt", "dataset.json",
    ]  # fmt: skip
    pack(tmp_path / "out")
    assert stored(memory, "/bucket/shards") == local(tmp_path / "out")


def test_a_short_upload_is_tried_again(memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    send, cut = MemoryFileSystem.put_file, iter([True, False, True])

    def sometimes_cuts(fs: MemoryFileSystem, path: str, target: str, **kwargs: object) -> None:
        send(fs, path, target, **kwargs)
        if next(cut, False):
            fs.pipe_file(target, b"half")

    monkeypatch.setattr(MemoryFileSystem, "put_file", sometimes_cuts)
    pack("memory://bucket/shards")
    assert all(len(content) > 4 or name == "classes.txt" for name, content in stored(memory, "/bucket/shards").items())


def test_what_is_in_a_store_is_never_overwritten(memory: MemoryFileSystem) -> None:
    memory.pipe("/bucket/shards/thesis.txt", b"years of work")
    for options in ({}, {"overwrite": True}):
        with pytest.raises(UserError, match=r"has 1 file\(s\) already, such as thesis.txt, .* never overwritten"):
            pack("memory://bucket/shards", **options)
    assert stored(memory, "/bucket/shards") == {"thesis.txt": b"years of work"}


def test_a_driver_that_is_not_installed() -> None:
    with pytest.raises(UserError, match="nowhere://bucket/shards"):
        pack("nowhere://bucket/shards")


def test_urls_and_paths() -> None:
    assert local_folder("shards") == Path("shards")
    assert local_folder(Path("/shards")) == local_folder("file:///shards") == Path("/shards")
    assert local_folder("memory://shards") is None


def test_s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        fs = fsspec.filesystem("s3", skip_instance_cache=True)
        fs.mkdir("packed")
        pack("s3://packed/some/shards")
        config = WebDataset.Config(
            labeled="s3://packed/some/shards/labeled-*.tar", classes="s3://packed/some/shards/classes.txt"
        )
        split = WebDataset(config).split("labeled")
        assert sorted(sample.label for sample in split.read(range(23))) == sorted(i % 3 for i in range(23))
    finally:
        server.stop()
