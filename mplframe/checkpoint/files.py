"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from mplframe.errors import RunError, UserError


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
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise explain(error, path) from error
    except RuntimeError as error:
        # torch's zip writer turns a failed write into a RuntimeError without an errno.
        if "PytorchStreamWriter" in str(error) or "write" in str(error):
            raise explain(OSError(errno.ENOSPC, str(error)), path) from error
        raise
    finally:
        part.unlink(missing_ok=True)


def explain(error: OSError, path: Path) -> RunError | UserError:
    """The error to raise where writing `path` has failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
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
        raise explain(error, path / "run") from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
