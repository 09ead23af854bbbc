"""A folder that appears complete or not at all."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from mplframe.errors import RunError, UserError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class OutputExistsError(UserError):
    """The output folder is already there."""


@contextmanager
def new_folder(out: Path, *, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write into, which becomes `out` when the block ends well and is removed when it doesn't.

    Args:
        out: what it becomes; missing folders above it are made.
        marker: a file that every such folder ends up with; only a folder that has it is ever overwritten.
        overwrite: replace what is there.

    Raises:
        OutputExistsError: `out` is there already and not empty, and `overwrite` isn't set.
        UserError: `out` can't be written, or is something that must not be overwritten.
        RunError: the disk is full.
    """
    check_free(out, marker=marker, overwrite=overwrite)
    temporary = out.parent / f".{out.name}.partial-{uuid4().hex[:12]}"
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
    try:
        with writing(out):
            yield temporary
            _publish(temporary, out, marker=marker, overwrite=overwrite)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def writing(out: Path, remedy: str = "choose another folder") -> Iterator[None]:
    """Turn what the system says about writing to `out` into an error that says what to do.

    Args:
        out: what is written.
        remedy: what to do where it can't be.

    Raises:
        RunError: the disk is full.
        UserError: anything else.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise RunError(
                f"{out}: the disk is full ({error.strerror}); nothing of it was kept. Free some space or write "
                "to another disk, then run the same command again"
            ) from error
        raise UserError(f"{out}: can't be written: {error.strerror or error}; {remedy}") from error


def check_free(out: Path, *, marker: str, overwrite: bool) -> None:
    """Check that `out` may be written.

    Raises:
        OutputExistsError, UserError: as `new_folder`.
    """
    with writing(out):
        above = next(folder for folder in out.absolute().parents if folder.exists())
        if not above.is_dir():
            raise UserError(f"{out}: can't be written: {above} is a file, not a folder; choose another folder")
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return
    if not overwrite:
        raise OutputExistsError(f"{out}: is already there; choose another folder, or overwrite it with --overwrite")
    if not (out / marker).is_file():
        raise UserError(f"{out}: has no {marker}, so it isn't one of ours and won't be overwritten; remove it yourself")


def _publish(temporary: Path, out: Path, *, marker: str, overwrite: bool) -> None:
    check_free(out, marker=marker, overwrite=overwrite)
    if not overwrite:
        try:
            temporary.rename(out)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # another process was faster
                raise OutputExistsError(f"{out}: another process has just made it") from error
            raise
        return
    old = out.parent / f".{out.name}.replaced-{uuid4().hex[:12]}"
    if out.exists():
        out.rename(old)
    temporary.rename(out)
    shutil.rmtree(old, ignore_errors=True)
