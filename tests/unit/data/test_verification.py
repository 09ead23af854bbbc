from pathlib import Path
from typing import Any

import pytest
from data_support import write_shards
from fsspec.implementations.memory import MemoryFileSystem

from mplframe.data.inspecting.inspection import Problem, verify, verify_shards
from mplframe.data.shards.index import index_shard
from mplframe.data.shards.index_files import write_index
from mplframe.data.shards.source import WebDataset


@pytest.fixture
def source(tmp_path: Path) -> list[str]:
    return write_shards(tmp_path / "source", [70, 3, 80, 5])


def config(tmp_path: Path, **settings: Any) -> WebDataset.Config:
    return WebDataset.Config(**{"classes": 10, "cache": str(tmp_path / "cache"), **settings})


def spoil(shard: str, sample: int) -> None:
    """Overwrite an image, and leave the tar whole."""
    offset, length = index_shard(Path(shard)).members(sample)["png"]
    content = bytearray(Path(shard).read_bytes())
    content[offset + 20 : offset + length - 4] = bytes(length - 24)
    Path(shard).write_bytes(content)


def found(problems: list[Problem]) -> list[tuple[str, int | None]]:
    return [(Path(problem.shard).name, problem.sample) for problem in problems]


def test_everything_is_found_in_order(tmp_path: Path, source: list[str]) -> None:
    spoil(source[0], 3)
    spoil(source[0], 69)
    Path(source[1]).unlink()
    Path(source[2]).write_bytes(Path(source[2]).read_bytes()[:100_000])
    calls: list[int] = []
    problems = verify_shards(config(tmp_path, labeled=source), calls.append)
    assert found(problems) == [
        ("part-000.tar", 3), ("part-000.tar", 69), ("part-001.tar", None), ("part-002.tar", None),
        ("part-002.tar", None),
    ]  # fmt: skip
    assert "part-001.tar doesn't exist" in problems[2].reason
    whole = len(index_shard(Path(source[2])))
    assert 0 < whole < 80
    assert calls == list(range(1, 70 + whole + 5 + 1))


def test_what_is_kept_is_not_believed(tmp_path: Path, source: list[str]) -> None:
    assert verify_shards(config(tmp_path, labeled=source)) == []
    sidecar = write_index(Path(source[0]))
    assert verify_shards(config(tmp_path, labeled=source)) == []
    sidecar.rename(f"{source[0]}.old")
    cls = index_shard(Path(source[0])).members(40)["cls"][0]
    with Path(source[0]).open("r+b") as file:
        file.seek(cls - 512)
        file.write(b"\xff" * 8)
    Path(f"{source[0]}.old").rename(sidecar)
    problems = verify_shards(config(tmp_path, labeled=source[0]))
    assert "its .idx says otherwise than the shard" in problems[0].reason
    assert found(problems) == [("part-000.tar", None)] * len(problems)
    assert len(problems) == 3


@pytest.mark.parametrize("settings", [{}, {"cache_mb": 0}, {"reader": "sequential"}])
def test_shards_in_a_store(
    tmp_path: Path, source: list[str], memory: MemoryFileSystem, settings: dict[str, Any]
) -> None:
    spoil(source[2], 79)
    for path in source:
        memory.pipe(f"/verify/{Path(path).name}", Path(path).read_bytes())
    problems = verify_shards(config(tmp_path, test="memory://verify/*.tar", **settings))
    assert found(problems) == [("part-002.tar", 79)]
    assert "can't be decoded" in problems[0].reason


def test_damage_of_any_source_counts(tmp_path: Path, source: list[str]) -> None:
    Path(source[2]).write_bytes(Path(source[2]).read_bytes()[:100_000])
    spoil(source[3], 1)
    dataset = WebDataset(config(tmp_path, labeled=source, test=source))
    split = dataset.split("labeled")
    assert split is not None
    lost, rest = split.damage
    for name in ("labeled", "test"):
        problems = [problem for problem in verify(dataset) if problem.split == name]
        assert [(problem.shard, problem.sample) for problem in problems] == [
            (source[2], None), (source[2], None), ("3", 1),
        ]  # fmt: skip
        assert [problem.reason for problem in problems[:2]] == [lost.reason, rest.reason]


def test_a_label_that_no_class_has(tmp_path: Path, source: list[str]) -> None:
    (problem,) = verify_shards(config(tmp_path, classes=7, labeled=source[3]))
    assert (problem.shard, problem.sample) == (source[3], 4)
    assert "label 7 is out of range; with 7 classes" in problem.reason
