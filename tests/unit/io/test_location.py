"""Files that appear complete or not at all, wherever they lie."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from mplframe.errors import DataError, MplframeError, RunError, UserError
from mplframe.io.location import locate
from mplframe.io.requests import open_store
from mplframe.io.stores import StoreError


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(UserError, match=r"pip install 'mplframe\[gs\]'"):
        locate("gs://bucket/scores")


def test_streams_are_retried_by_the_driver() -> None:
    """Who reads ranges tries again by himself; a stream can't be taken up in the middle."""
    stream, ranges = locate("s3://bucket/a").fs, open_store("s3://bucket/a")[0]
    assert "retries" not in stream.config_kwargs
    # botocore rewrites the setting in place once it has connected.
    once = ({"max_attempts": 0}, {"total_max_attempts": 1, "mode": "legacy"})
    assert ranges.config_kwargs["retries"] in once
    assert stream.config_kwargs["read_timeout"] == ranges.config_kwargs["read_timeout"]


def test_what_goes_wrong_while_reading_is_told(tmp_path: Path) -> None:
    location = locate(str(tmp_path / "a.parquet"))
    for error, kind, message in (
        (FileNotFoundError("a"), DataError, "doesn't exist; check the path"),
        (pa.ArrowInvalid("no footer"), DataError, "can't be read: no footer; it is damaged"),
        (PermissionError("no"), StoreError, "access refused"),
        (RuntimeError("reset"), StoreError, "can't be read: reset"),
        (DataError("of ours"), DataError, "^of ours$"),
        (RunError("of ours"), RunError, "^of ours$"),
    ):
        with pytest.raises(kind, match=message), location.reading():
            raise error


@pytest.mark.parametrize("remote", [False, True])
def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, memory: MemoryFileSystem, remote: bool) -> None:
    location = locate("memory://out/a.parquet" if remote else str(tmp_path / "out/a.parquet"))

    def listing() -> list[str]:
        return [path.rpartition("/")[2] for path in location.fs.find(location.path.rpartition("/")[0])]

    def fail(error: Exception) -> None:
        with location.replacing() as stream:
            stream.write(b"half")
            raise error

    with pytest.raises(AssertionError, match="midway"):
        fail(AssertionError("midway"))
    assert listing() == []
    for content in (1, 2):
        with location.replacing() as stream:
            pq.write_table(pa.table({"a": [content]}), stream)
        with location.fs.open(location.path, "rb") as stream:
            assert pq.read_table(stream)["a"].to_pylist() == [content]
    with pytest.raises(MplframeError, match=r"(can't write .*|memory://.*)a\.parquet.*refused"):
        fail(OSError("refused"))
    assert listing() == ["a.parquet"]
