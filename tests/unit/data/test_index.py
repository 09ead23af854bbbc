import gzip
import io
import tarfile
from pathlib import Path

import pytest
from data_support import encoded, image, write_shards

from mplframe.data.shards.index import index_shard
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
    extension = [index.extensions[i] for i in index.extension.tolist()]
    assert [extension[i] for i in index.best(["jpg", "png", "cls"]).tolist()] == ["png"] * 7
    assert [extension[i] for i in index.best(["cls", "png"]).tolist()] == ["cls"] * 7
    assert index.best(["json"]).tolist() == [-1] * 7
    assert index.damage == ()
    assert index.size == len(data)


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
    ],
)
def test_ambiguous_shards_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=f"a.tar: .*{message}"):
        index_shard(tar(tmp_path / "a.tar", names))


@pytest.mark.parametrize("names", [[], ["__meta__"]])
def test_an_empty_shard_counts_as_damage(tmp_path: Path, names: list[str]) -> None:
    index = index_shard(tar(tmp_path / "a.tar", names))
    assert len(index) == 0
    ((key, reason),) = index.damage
    assert key == ""
    assert "no samples in it; leave this shard out" in reason


def ends(path: Path) -> list[int]:
    """Where the last member of each sample ends, in bytes."""
    index = index_shard(path)
    return [max(at + size for at, size in index.members(i).values()) for i in range(len(index))]


def keys(path: Path) -> list[str]:
    index = index_shard(path)
    return [index.key(i) for i in range(len(index))]


def test_whole_samples_before_any_cut_stay(tmp_path: Path) -> None:
    path = Path(write_shards(tmp_path, [6])[0])
    whole, all_keys, complete = path.read_bytes(), keys(path), ends(path)
    starts = [0, *(end + 511 & ~511 for end in complete)]  # a sample may have extra headers in front
    end = len(whole.rstrip(b"\0")) + 511 & ~511
    damaged = tmp_path / "damaged.tar"
    for cut in range(0, end + 1, 256):
        damaged.write_bytes(whole[:cut])
        index = index_shard(damaged)
        found = [index.key(i) for i in range(len(index))]
        assert found == all_keys[: len(found)]
        # A sample is known to be whole when the header of the next one can be read.
        assert sum(at + 512 <= cut for at in starts[1:-1]) >= len(found) >= sum(at + 1536 <= cut for at in starts[1:-1])
        assert index.damage[-1][0] == ""
        assert "fetch or write the shard again" in index.damage[-1][1]
        lost = [key for key, _ in index.damage[:-1]]
        assert lost in ([], [all_keys[len(found)]])
        assert lost or cut < 1536


def test_a_sample_is_never_given_without_its_label(tmp_path: Path) -> None:
    names = [f"{i}.{extension}" for i in range(4) for extension in ("cls", "jpg", "json")]
    whole = tar(tmp_path / "whole.tar", names).read_bytes()
    for cut in range(0, len(whole) + 1, 128):
        (tmp_path / "cut.tar").write_bytes(whole[:cut])
        index = index_shard(tmp_path / "cut.tar")
        assert all(sorted(index.members(i)) == ["cls", "jpg", "json"] for i in range(len(index)))


def test_whole_samples_before_a_damaged_header_stay(tmp_path: Path) -> None:
    path = Path(write_shards(tmp_path, [6])[0])
    whole, index = path.read_bytes(), index_shard(path)
    damaged = tmp_path / "damaged.tar"
    for member, header in enumerate((index.offset - 512).tolist()):
        damaged.write_bytes(whole[: header + 3] + b"\xff" + whole[header + 4 :])
        found = index_shard(damaged)
        # A bad header leaves open which sample it belonged to, so the one before it may lack a member.
        assert len(found) == max(0, (member + 1) // 2 - 1)
        assert found.damage[-1][0] == ""
        assert "damage" in found.damage[-1][1] or "not a plain tar file" in found.damage[-1][1]


def test_a_shard_without_an_end_and_one_that_goes_on_behind_it(tmp_path: Path) -> None:
    whole = Path(write_shards(tmp_path, [3])[0]).read_bytes()
    path = tmp_path / "bad.tar"
    path.write_bytes(whole[: len(whole.rstrip(b"\0")) + 511 & ~511])
    assert keys(path) == ["00000", "00001"]
    assert [key for key, _ in index_shard(path).damage] == ["00002", ""]
    assert "no end-of-archive mark" in index_shard(path).damage[1][1]
    path.write_bytes(whole + whole)
    assert keys(path) == ["00000", "00001", "00002"]
    ((key, reason),) = index_shard(path).damage
    assert key == ""
    assert "joined" in reason
    path.write_bytes(b"<html>404</html>" * 100)
    assert [(key, reason[:20]) for key, reason in index_shard(path).damage] == [("", "not a plain tar file")]


def test_a_compressed_shard_is_refused(tmp_path: Path) -> None:
    whole = Path(write_shards(tmp_path, [2])[0]).read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(whole))
    with pytest.raises(DataError, match=r"a.tar.gz: it is compressed with gzip.*decompress it"):
        index_shard(tmp_path / "a.tar.gz")


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "b.jpg").hardlink_to(tmp_path / "a.jpg")
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        file.add(tmp_path / "a.jpg", "a.jpg")
        file.add(tmp_path / "b.jpg", "b.jpg")
    with pytest.raises(DataError, match=r"'b.jpg' is a link"):
        index_shard(tmp_path / "a.tar")
