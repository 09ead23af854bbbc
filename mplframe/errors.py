"""What can go wrong, sorted by whose turn it is.

A `UserError` is something the user can mend (exit code 2); a `RunError` is a failure of the run itself (exit code 1).
Each message says what was given, what is allowed and what to do next, in one paragraph.
"""

import errno
import importlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Codes of an `OSError` that mean a full disk, quota or largest file."""


class MplframeError(Exception):
    """Base of every error that mplframe raises on purpose.

    Attributes:
        exit_code: what the command line exits with.
    """

    exit_code = 1


class UserError(MplframeError, ValueError):
    """The input can't be right: a config, a path, a name, data that doesn't fit. Exit code 2."""

    exit_code = 2


class ConfigError(UserError):
    """A configuration that doesn't validate; the message names the path of every offending key."""


class DataError(UserError):
    """Data that is missing, damaged or doesn't fit the configuration."""


class DamageError(DataError):
    """One sample that can't be used, among others that can: undecodable, without its label, of a class that isn't."""


class CheckpointError(UserError):
    """A checkpoint that can't be used here: damaged, of another architecture, or of another plan."""


class PluginError(UserError):
    """A plugin that can't be loaded or that registers something unusable; names the plugin at fault."""


class RunError(MplframeError, RuntimeError):
    """The run failed though its input was right: a loss that isn't finite, a full disk. Exit code 1."""


def unwritable(path: Path, error: OSError) -> RunError | UserError:
    """The error to raise where writing `path` has failed."""
    if error.errno in FULL:
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        return RunError(
            f"the disk is full: {path} couldn't be written ({shutil.disk_usage(folder).free / 2**20:.1f} MiB free in "
            f"{folder}); what was there before is untouched. Make room (`df -h` and `df -i` show where) and run the "
            "same command again: it resumes from the last checkpoint"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(f"can't write {path}: {error.strerror}; choose a folder that you may write to (--out DIR)")
    return RunError(f"can't write {path}: {error}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A block that writes `path`; where that fails, it raises what `unwritable` says."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


def optional(module: str, package: str) -> Any:
    """A module that not every installation has.

    Raises:
        UserError: it isn't installed; says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"this needs {package}, which isn't installed; pip install {package}") from error


def nearest(name: str, allowed: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the allowed spelling closest to `name`, or the empty string."""
    close = get_close_matches(str(name), list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
