"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import io
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from mplframe.errors import RunError, UserError

FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under another name, flush it to the disk, and move it into place.

    Args:
        path: where it ends up; whatever was there stays until the new file is whole.
        write: writes the content.

    Raises:
        RunError: the disk is full; says how much is free. Nothing half-written is left.
        UserError: the folder isn't writable.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise explain(error, path) from error
    part = Path(name)
    watched = _Watched(handle, "wb")
    try:
        with io.BufferedWriter(watched) as file:
            write(file)
            file.flush()
            os.fsync(handle)
        part.replace(path)
        _sync_folder(path.parent)
    except Exception as error:
        # Writers in C++ (torch's, Arrow's) turn a failed write into errors of their own.
        reason = error if isinstance(error, OSError) else watched.error
        if reason is None:
            raise
        raise explain(reason, path) from error
    finally:
        part.unlink(missing_ok=True)


class _Watched(io.FileIO):
    """A file that remembers why writing to it failed."""

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise


def explain(error: OSError, path: Path) -> RunError | UserError:
    """The error to raise where writing `path` has failed."""
    if error.errno in FULL:
        free = shutil.disk_usage(path.parent).free / 2**20
        return RunError(
            f"the disk is full: {path} couldn't be written ({free:.1f} MiB free in {path.parent}); what was there "
            "before is untouched. Make room and run the same command again: it resumes from the last checkpoint"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(f"can't write {path}: {error.strerror}; choose a folder that you may write to (--out DIR)")
    return RunError(f"can't write {path}: {error}")


def make_folder(path: Path) -> None:
    """Make a folder and its parents, and see that files can be written in it.

    Raises:
        UserError: it can't be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f"{path} can't be a folder: a file of that name is in the way; choose another (--out DIR)"
        ) from error
    except OSError as error:
        if error.errno in FULL:
            raise explain(error, path / "checkpoint") from error
        raise UserError(
            f"can't make or write the folder {path}: {error.strerror}; choose another (--out DIR)"
        ) from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
