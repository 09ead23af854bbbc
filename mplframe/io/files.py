"""Files that are whole or not there, and JSON that is valid."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from mplframe.errors import FULL, UserError, unwritable


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under another name, flush it to the disk, and move it into place.

    Args:
        path: where it ends up; whatever was there stays until the new file is whole.
        write: writes the content.

    Raises:
        RunError: the disk is full; says how much is free. Nothing half-written is left.
        UserError: the folder isn't writable.
    """
    part = path.with_name(f".{path.name}.{uuid4().hex[:12]}.part")
    try:
        watched = _Watched(part, "xb+")
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        # Some formats are read again while they are written.
        with io.BufferedRandom(watched) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync(path.parent)
    except Exception as error:
        # Writers in C++ (torch's, Arrow's) turn a failed write into errors of their own.
        reason = error if isinstance(error, OSError) else watched.error
        if reason is None:
            raise
        raise unwritable(path, reason) from error
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
            raise unwritable(path / "checkpoint", error) from error
        raise UserError(
            f"can't make or write the folder {path}: {error.strerror}; choose another (--out DIR)"
        ) from error


MARKER = ".mplframe"
"""The file in a folder of ours that says what the folder is; only such a folder is ever cleared."""
_PART = re.compile(r"\..+\.[0-9a-f]{12,32}\.part")


def claim(folder: Path, kind: str, names: Iterable[str]) -> None:
    """Take a folder for ours, or see that it is; written to by nobody else meanwhile.

    Args:
        folder: which; it is there.
        kind: of folder, such as `run`.
        names: of files and folders that we write in it.

    Raises:
        UserError: it has some of them and isn't ours, is of another kind, or one of them is a link that leads
            elsewhere.
    """
    there = [name for name in sorted(names) if os.path.lexists(folder / name)]
    if links := [name for name in (*there, MARKER) if (folder / name).is_symlink()]:
        raise UserError(f"{folder / links[0]} is a link; a {kind} writes into its own folder alone (--out DIR)")
    if (found := marked(folder)) not in (None, kind):
        raise UserError(f"{folder} holds a {found}; choose another folder for the {kind} (--out DIR)")
    if found is None and there:
        raise UserError(
            f"{folder} has files that no {kind} of mplframe has left there ({', '.join(there[:5])}), and they would be "
            "overwritten; choose another folder (--out DIR)"
        )
    if found is None:
        write_atomic(folder / MARKER, lambda file: file.write(f"{kind}\n".encode()))


def marked(folder: Path) -> str | None:
    """What kind of folder of ours this is; None where it isn't one."""
    try:
        return (folder / MARKER).read_text(encoding="utf-8")[:80].strip() or None
    except (OSError, ValueError):
        return None


def remove_parts(folder: Path) -> None:
    """Remove what killed processes have left half-written, at any depth; nobody else may be writing there."""
    for path in folder.rglob(".*.part"):
        if _PART.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


@contextmanager
def alone(folder: Path, who: str) -> Iterator[None]:
    """Hold a folder that is there, so that nobody else does.

    Args:
        folder: which.
        who: does, such as `run`; for the message.

    Raises:
        UserError: another process holds it.
    """
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another {who} is writing to {folder}; choose another folder (--out DIR)") from error
        yield


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


Digest = tuple[int, str]
"""What a file is checked by: its size in bytes, and the SHA-256 of its content in hexadecimal."""


def digest(path: Path) -> Digest:
    """Of the file's content."""
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()


def json_text(data: Any, *, indent: int | None = None) -> str:
    """The JSON of data; it has no infinity and no NaN: a number that isn't finite is null."""
    return json.dumps(_finite(data), indent=indent, allow_nan=False)


def lines_of(text: str) -> list[str]:
    """Lines without their ends. Unlike of `str.splitlines`, U+2028, U+0085 and the like are characters in a line."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if not lines[-1] else lines


def readable(name: str) -> str:
    """A file's name as text that is valid UTF-8: bytes that aren't become escapes, `caf\\xe9.png`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data


def cache_folder(given: str | None = None) -> Path:
    """Where copies and indexes lie: `given`, else `MPLFRAME_CACHE`, else `mplframe` in the XDG cache folder.

    Raises:
        UserError: it would lie in the home folder, and this user has none.
    """
    if given or os.environ.get("MPLFRAME_CACHE"):
        return expanded(given or os.environ["MPLFRAME_CACHE"])
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "mplframe"


def expanded(path: str) -> Path:
    """The path, with `~` for the home folder.

    Raises:
        UserError: nobody knows a home folder, as in a container whose user is in no passwd file.
    """
    try:
        return Path(path).expanduser()
    except (RuntimeError, KeyError) as error:
        raise UserError(
            f"{path} lies in the home folder, but this user has none ({error}); set HOME, or set MPLFRAME_CACHE to a "
            "folder for copies and indexes"
        ) from error
