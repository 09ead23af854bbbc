import errno
import os
from pathlib import Path

import pytest

from mplframe.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    MplframeError,
    PluginError,
    RunError,
    UserError,
    nearest,
    unwritable,
)


@pytest.mark.parametrize("error", [UserError, ConfigError, DataError, CheckpointError, PluginError])
def test_what_the_user_can_mend_exits_with_2_and_is_a_value_error(error: type[MplframeError]) -> None:
    assert error.exit_code == 2
    assert issubclass(error, ValueError)


def test_a_failed_run_exits_with_1_and_is_no_user_error() -> None:
    assert RunError.exit_code == 1
    assert not issubclass(RunError, UserError)


def test_nearest_spelling() -> None:
    assert nearest("cosin", ["dot", "cosine"]) == "; did you mean 'cosine'?"
    assert nearest("xyz", ["dot", "cosine"]) == ""
    assert nearest("dot", []) == ""


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (errno.ENOSPC, RunError, "the disk is full"),
        (errno.EDQUOT, RunError, "the disk is full"),
        (errno.EACCES, UserError, "--out DIR"),
        (errno.EROFS, UserError, "--out DIR"),
        (errno.EIO, RunError, "can't write"),
    ],
)
@pytest.mark.parametrize("file", ["file", "folder/that/could/not/be/made"])
def test_a_failed_write_is_sorted_by_whose_turn_it_is(
    tmp_path: Path, code: int, kind: type[Exception], says: str, file: str
) -> None:
    found = unwritable(tmp_path / file, OSError(code, os.strerror(code)))
    assert type(found) is kind
    assert says in str(found)
    assert str(tmp_path / file) in str(found)
