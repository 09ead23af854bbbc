import dataclasses
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from data_support import write_shards

from mplframe.data.shards.index import ShardIndex, index_shard
from mplframe.data.shards.index_files import read_sidecar, sidecar_bytes, write_index
from mplframe.errors import DataError


def same(one: ShardIndex, other: ShardIndex) -> bool:
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one)]
    return all(np.array_equal(a, b) and getattr(a, "dtype", None) == getattr(b, "dtype", None) for a, b in pairs)


def test_an_index_comes_back_as_it_was(tmp_path: Path) -> None:
    path = Path(write_shards(tmp_path, [7])[0])
    sidecar = write_index(path)
    assert sidecar == tmp_path / "part-000.tar.idx"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["part-000.tar", "part-000.tar.idx"]
    index = read_sidecar(sidecar.read_bytes())
    assert same(index, index_shard(path))
    assert sidecar_bytes(index) == sidecar.read_bytes()


def test_damage_and_strange_names_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as file:
        for name in ("käse.jpg", "x.jpg", "z.jpg"):
            file.addfile(tarfile.TarInfo(name), io.BytesIO())
    path.write_bytes(path.read_bytes()[:1536])
    index = index_shard(path)
    assert [key for key, _ in index.damage] == ["z", ""]
    again = read_sidecar(sidecar_bytes(index))
    assert same(again, index)
    assert again.key(0) == index.key(0) == "k\udce4se"


def test_a_shard_that_is_refused_gets_no_index(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        file.addfile(tarfile.TarInfo("noextension"), io.BytesIO())
    with pytest.raises(DataError, match="no extension"):
        write_index(tmp_path / "a.tar")
    assert [file.name for file in tmp_path.iterdir()] == ["a.tar"]


def test_whatever_is_no_index_is_refused(tmp_path: Path) -> None:
    index = index_shard(Path(write_shards(tmp_path, [7])[0]))
    content = sidecar_bytes(index)
    with io.BytesIO() as other:
        np.savez(other, offset=index.offset)
        foreign = other.getvalue()
    for bad in (b"", b"v1.2 7\n", content[: len(content) // 2], content[:-40], foreign):
        with pytest.raises(ValueError, match="it isn't an index of mplframe"):
            read_sidecar(bad)


@pytest.mark.parametrize(
    "change",
    [
        lambda i: {"offset": i.offset + i.size},
        lambda i: {"length": i.length + i.size},
        lambda i: {"first": np.sort(np.append(i.first[:-2], [0, i.first[-1]]))},
        lambda i: {"key_ends": i.key_ends + 1},
        lambda i: {"keys": i.keys[:-1]},
        lambda i: {"extension": i.extension + 9},
        lambda i: {"size": i.size // 2},
    ],
)
def test_numbers_that_cannot_be_are_refused(tmp_path: Path, change: object) -> None:
    index = index_shard(Path(write_shards(tmp_path, [7])[0]))
    wrong = dataclasses.replace(index, **change(index))  # type: ignore[operator]
    with pytest.raises(ValueError, match="contradict"):
        read_sidecar(sidecar_bytes(wrong))
