import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from mplframe.errors import DataError, RunError, UserError
from mplframe.io.files import make_folder, write_atomic


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    write_atomic(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208 - hidden files count


def test_a_reader_never_sees_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def slowly(file: BinaryIO) -> None:
        file.write(b"ne")
        file.flush()
        assert path.read_bytes() == b"old"
        file.write(b"w")

    write_atomic(path, slowly)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyboardInterrupt(), DataError("image 3 is damaged"), RuntimeError("x")]
)
def test_a_failed_write_leaves_the_old_file_and_tells_why(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise error

    with pytest.raises(type(error)) as caught:
        write_atomic(path, fail)
    assert caught.value is error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: an illegal write"), RunError("the stream couldn't write to its pipe")]
)
def test_only_a_full_disk_is_called_a_full_disk(tmp_path: Path, error: RuntimeError) -> None:
    def fail(file: BinaryIO) -> None:
        raise error

    with pytest.raises(RuntimeError) as caught:
        write_atomic(tmp_path / "file", fail)
    assert caught.value is error


@pytest.fixture
def usual_mask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("usual_mask")
def test_others_may_read_it_like_any_new_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", lambda file: file.write(b"new"))
    assert stat.filemode((tmp_path / "file").stat().st_mode) == "-rw-r--r--"


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises((UserError, RunError), match="nowhere"):
        write_atomic(tmp_path / "nowhere" / "file", lambda file: file.write(b"new"))


def test_a_folder_is_made_with_its_parents_and_may_be_there_already(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def beneath_a_file(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file" / "run"


def in_place_of_a_file(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file"


def in_proc(folder: Path) -> Path:
    """Where even root can't make a folder."""
    return Path("/proc/mplframe")


def with_an_endless_name(folder: Path) -> Path:
    return folder / ("x" * 300)


@pytest.mark.parametrize("where", [beneath_a_file, in_place_of_a_file, in_proc, with_an_endless_name])
def test_a_folder_that_cannot_be_is_the_users_to_mend(tmp_path: Path, where: Callable[[Path], Path]) -> None:
    path = where(tmp_path)
    with pytest.raises(UserError, match=r"--out DIR"):
        make_folder(path)
