import os
from pathlib import Path

import pytest
from data_support import CONTENT
from fsspec.implementations.memory import MemoryFileSystem

from mplframe.data.shards.listing import LISTED, Shard, expand, list_shards
from mplframe.errors import DataError
from mplframe.io.stores import Info, Stores

STORES = Stores()


def urls(given: str | list[str]) -> list[str]:
    return list(expand(given, STORES))


def test_patterns_expand_in_a_stable_order(tmp_path: Path) -> None:
    for name in ("b-1.tar", "b-0.tar", "a-1.tar", "note.md"):
        (tmp_path / name).touch()
    (tmp_path / "folder.tar").mkdir()
    at = str(tmp_path)
    assert urls(f"{at}/*.tar") == [f"{at}/{name}.tar" for name in ("a-1", "b-0", "b-1")]
    assert urls([f"{at}/b-{{0..1}}.tar", f"file://{at}/a-?.tar"]) == [f"{at}/{n}.tar" for n in ("b-0", "b-1", "a-1")]
    assert urls("s3://bucket/{000..002}.tar") == [f"s3://bucket/00{i}.tar" for i in range(3)]
    assert urls("http://host/a.tar?token=1") == ["http://host/a.tar?token=1"]


def test_globs_work_on_any_store(memory: MemoryFileSystem, tmp_path: Path) -> None:
    for name in ("2", "1"):
        memory.pipe(f"/glob/{name}.tar", b"x")
    assert urls("memory://glob/*.tar") == ["memory:///glob/1.tar", "memory:///glob/2.tar"]
    chained = Stores({"simplecache": {"cache_storage": str(tmp_path)}})
    found = list_shards("simplecache::memory://glob/*.tar", chained)
    assert [shard.url for shard in found] == ["simplecache::memory:///glob/1.tar", "simplecache::memory:///glob/2.tar"]
    assert chained.read(found[0].url) == b"x"


def test_globs_in_an_archive(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("d/b.tar", "d/a.tar"):
            archive.writestr(name, name)
    found = list_shards(f"zip://d/*.tar::{tmp_path}/all.zip", STORES)
    assert [shard.url for shard in found] == [f"zip://d/{name}.tar::{tmp_path}/all.zip" for name in "ab"]
    assert STORES.read(found[1].url) == b"d/b.tar"
    assert STORES.local_path(found[1].url) is None


def test_lists_of_shards(memory: MemoryFileSystem, tmp_path: Path) -> None:
    for name in ("a/0.tar", "a/1.tar", "b.tar"):
        memory.pipe(f"/lists/{name}", b"x")
    memory.pipe("/lists/train.txt", f"# ours\na/{{0..1}}.tar\n\n  b*.tar \r\n{tmp_path}/c.tar\n".encode())
    assert urls("memory://lists/train.txt") == [
        "memory://lists/a/0.tar", "memory://lists/a/1.tar", "memory:///lists/b.tar", f"{tmp_path}/c.tar",
    ]  # fmt: skip
    (tmp_path / "local.txt").write_text("d/e.tar\nmemory://lists/b.tar")
    assert urls([str(tmp_path / "local.txt"), "x.tar"]) == [f"{tmp_path}/d/e.tar", "memory://lists/b.tar", "x.tar"]
    (tmp_path / "nested.txt").write_text("local.txt")
    with pytest.raises(DataError, match=r"nested.txt: names another list, local.txt"):
        urls(str(tmp_path / "nested.txt"))
    with pytest.raises(DataError, match=r"none.txt doesn't exist"):
        urls(str(tmp_path / "none.txt"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nothing-here-*.tar", r"nothing-here-\*.tar matches no file; check the pattern"),
        ([], "empty list of shards"),
        ("a{0..1.tar", r"braces don't match .*write for example shard-\{000..099\}.tar"),
        (["a.tar", "b.tar", "a.tar"], "a.tar is named twice"),
    ],
)
def test_patterns_that_mean_nothing(given: str | list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        urls(given)


def test_local_shards_are_known_by_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(CONTENT)
    os.utime(tmp_path / "a.tar", ns=(0, 12_345_678_901))
    assert list_shards(str(tmp_path / "a.tar"), STORES) == [Shard(f"{tmp_path}/a.tar", len(CONTENT), "12345678901")]
    for missing in ("b.tar", "."):
        with pytest.raises(DataError, match="doesn't exist"):
            list_shards(f"{tmp_path}/{missing}", STORES)


def test_many_shards_of_a_folder_are_listed_at_once(memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(LISTED + 1):
        memory.pipe(f"/many/{number:03d}.tar", CONTENT[number:])
    one_by_one = [
        Shard(f"memory://many/{i:03d}.tar", *STORES.info(f"memory://many/{i:03d}.tar")) for i in range(LISTED)
    ]
    asked: list[str] = []
    info = Stores.info
    monkeypatch.setattr(Stores, "info", lambda self, url: (asked.append(url), info(self, url))[1])
    assert list_shards(f"memory://many/{{000..{LISTED - 1:03d}}}.tar", STORES) == one_by_one
    assert [Info(s.size, s.version) for s in list_shards("memory://many/*.tar", STORES)][:-1] == [
        Info(s.size, s.version) for s in one_by_one
    ]
    assert asked == []
    with pytest.raises(DataError, match=rf"memory://many/{LISTED + 1:03d}.tar doesn't exist"):
        list_shards(f"memory://many/{{000..{LISTED + 1:03d}}}.tar", STORES)


def test_a_store_that_does_not_list_folders_is_asked_for_each(
    memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(LISTED):
        memory.pipe(f"/hidden/{number:03d}.tar", b"x" * number)

    def refused(*args: object, **kwargs: object) -> None:
        raise PermissionError("ListBucket")

    monkeypatch.setattr(Stores, "folder", refused)
    found = list_shards(f"memory://hidden/{{000..{LISTED - 1:03d}}}.tar", STORES)
    assert [shard.size for shard in found] == list(range(LISTED))
