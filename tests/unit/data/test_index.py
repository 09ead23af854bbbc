import gzip
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from data_support import encoded, image, write_shards

from mplframe.data import index_cache
from mplframe.data.index import index_shard
from mplframe.data.index_cache import cached_index
from mplframe.errors import DataError

PIXELS = encoded(image(0))


def tar(path: Path, names: list[str], format: int = tarfile.PAX_FORMAT) -> Path:
    """A shard whose members hold their own names."""
    with tarfile.open(path, "w", format=format) as file:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name.encode())
            file.addfile(info, io.BytesIO(name.encode()))
    return path


def test_members_are_where_the_index_says(tmp_path: Path) -> None:
    path = Path(write_shards(tmp_path, [7])[0])
    index, data = index_shard(path), path.read_bytes()
    assert [index.key(i) for i in range(len(index))] == [f"{i:05d}" for i in range(7)]
    for i in range(7):
        content = {ext: data[at : at + size] for ext, (at, size) in index.members(i).items()}
        assert content == {"png": encoded(image(i)), "cls": str(i).encode()}
    assert index.having(["png", "jpg"]).all()
    assert not index.having(["json"]).any()


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names(tmp_path: Path, format: int) -> None:
    long = "d/" * 40 + "long" * 12
    names = [
        "./a/x.jpg",
        "./a/x.cls",
        "b.c/x.JPG",
        "__meta__",
        "__more__/x.json",
        "b.c/.hidden",
        f"{long}.jpg",
        "z.seg.cls",
        "z.png",
    ]
    index = index_shard(tar(tmp_path / "a.tar", names, format))
    assert [(index.key(i), sorted(index.members(i))) for i in range(len(index))] == [
        ("./a/x", ["cls", "jpg"]),
        ("b.c/x", ["jpg"]),
        (long, ["jpg"]),
        ("z", ["png", "seg.cls"]),
    ]


def test_umlauts_and_folders(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "käse.jpg").write_bytes(b"x")
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        file.add(tmp_path / "in", "in")
    assert index_shard(tmp_path / "a.tar").key(0) == "in/käse"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.jpg", "b.jpg", "a.cls"], r"members of sample 'a' aren't adjacent \('a.cls' comes late\).*sorted by name"),
        (["a.jpg", "a.jpg"], "member 'a.jpg' occurs twice"),
        (["a.jpg", "a.JPG"], "member 'a.JPG' occurs twice"),
        (["img.v1.jpg", "img.v2.jpg"], r"sample 'img' has 2 images \(img.v1.jpg, img.v2.jpg\).*first dot"),
        (["cat.jpg", "cat.1.png"], "sample 'cat' has 2 images"),
        (["img1"], "member 'img1' has no extension"),
        ([], "no samples in it"),
        (["__meta__"], "no samples in it"),
    ],
)
def test_ambiguous_shards_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=f"a.tar: .*{message}"):
        index_shard(tar(tmp_path / "a.tar", names))


def test_every_cut_and_every_damaged_header_is_noticed(tmp_path: Path) -> None:
    whole = Path(write_shards(tmp_path, [6])[0]).read_bytes()
    end = len(whole.rstrip(b"\0")) + 511 & ~511
    damaged = tmp_path / "damaged.tar"
    for cut in range(0, end + 1, 256):
        damaged.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"damaged.tar: (cut short|not a plain tar)"):
            index_shard(damaged)
    index = index_shard(Path(write_shards(tmp_path, [6])[0]))
    for header in (index.offset - 512).tolist():
        damaged.write_bytes(whole[: header + 3] + b"\xff" + whole[header + 4 :])
        with pytest.raises(DataError, match=r"damaged.tar: (damaged at byte|not a plain tar)"):
            index_shard(damaged)


def test_joined_compressed_and_foreign_files_are_refused(tmp_path: Path) -> None:
    whole = Path(write_shards(tmp_path, [2])[0]).read_bytes()
    bad = tmp_path / "bad.tar"
    for content, message in (
        (whole + whole, "joined"),
        (gzip.compress(whole), "compressed with gzip.*decompress it"),
        (b"<html>404</html>" * 100, "not a plain tar file"),
    ):
        bad.write_bytes(content)
        with pytest.raises(DataError, match=message):
            index_shard(bad)


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "b.jpg").hardlink_to(tmp_path / "a.jpg")
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        file.add(tmp_path / "a.jpg", "a.jpg")
        file.add(tmp_path / "b.jpg", "b.jpg")
    with pytest.raises(DataError, match=r"'b.jpg' is a link"):
        index_shard(tmp_path / "a.tar")


def test_the_index_is_kept_until_the_shard_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = Path(write_shards(tmp_path, [5])[0]), tmp_path / "cache"
    first = cached_index(path, cache)
    with monkeypatch.context() as forbidden:
        forbidden.setattr(index_cache, "index_shard", lambda path: pytest.fail("scanned again"))
        again = cached_index(path, cache)
    assert [again.key(i) for i in range(5)] == [first.key(i) for i in range(5)]
    np.testing.assert_array_equal(again.offset, first.offset)
    write_shards(tmp_path, [6])
    assert len(cached_index(path, cache)) == 6
    os.utime(path, (1, 1))
    assert len(cached_index(path, cache)) == 6
    assert len(list((cache / "index").iterdir())) == 3


def test_a_damaged_or_unwritable_index_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, cache = Path(write_shards(tmp_path, [5])[0]), tmp_path / "cache"
    cached_index(path, cache)
    kept = next((cache / "index").iterdir())
    kept.write_bytes(kept.read_bytes()[:-40])
    assert len(cached_index(path, cache)) == 5
    assert "damaged" in caplog.text
    (tmp_path / "file").touch()
    assert len(cached_index(path, tmp_path / "file")) == 5
    assert "can't be kept" in caplog.text
