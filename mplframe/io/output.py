"""A folder or a store's prefix that appears complete or not at all."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from mplframe.errors import FULL, RunError, UserError
from mplframe.io.files import cache_folder, sync
from mplframe.io.requests import is_local, open_store, retry
from mplframe.io.stores import uploading

_REPLACED = ".replaced-"
_HERE, _SWAP = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux's renameat2."""
LOCK = ".lock"
"""The file in an unfinished folder that the process at work holds a lock on."""


class OutputExistsError(UserError):
    """The output is already there."""


class Output(Protocol):
    """Where files are written to."""

    @property
    def folder(self) -> Path:
        """The local folder to write them in."""

    def add(self, file: Path) -> None:
        """Take over a file of that folder that is finished."""


class LocalOutput:
    """A folder whose files stay where they are written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, file: Path) -> None:
        """Nothing to do."""


@contextmanager
def new_folder(out: Path, *, marker: str, overwrite: bool = False, journal: str | None = None) -> Iterator[LocalOutput]:
    """A folder to write into, which becomes `out` when the block ends well.

    Args:
        out: what it becomes; missing folders above it are made.
        marker: a file that every such folder ends up with; only a folder that has it is ever overwritten.
        overwrite: replace what is there.
        journal: see `unfinished`.

    Raises:
        OutputExistsError: `out` is there already and not empty, and `overwrite` isn't set.
        UserError: `out` can't be written, is something that must not be overwritten, or is being written already.
        RunError: the disk is full.
    """
    _recover(out, marker)
    check_free(out, marker=marker, overwrite=overwrite)
    with writing(out), unfinished(out.parent / f".{out.name}.partial", out, journal) as folder:
        yield LocalOutput(folder)
        if journal is not None:
            (folder / journal).unlink(missing_ok=True)
        for path in (*folder.rglob("*"), folder):
            sync(path)
        _publish(folder, out, marker=marker, overwrite=overwrite)
        (out / LOCK).unlink()
        sync(out)
        sync(out.parent)


@contextmanager
def unfinished(folder: Path, out: Path | str, journal: str | None) -> Iterator[Path]:
    """A folder of work that isn't done, held by one process alone; made here, removed afterwards if it is still there.

    Where the block fails and has left a file named `journal` in the folder, it stays, for the next block to go on from.

    Raises:
        UserError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{out}: another process is writing it; wait for it, or choose another place") from error
        if not _is_at(lock.fileno(), folder / LOCK):  # the process that held it has just finished
            raise OutputExistsError(f"{out}: another process has just made it")
        keep = False
        try:
            yield folder
        except BaseException:
            keep = journal is not None and (folder / journal).exists()
            raise
        finally:
            # Once it has become the output, a folder of this name is another process's.
            if not keep and _is_at(lock.fileno(), folder / LOCK):
                shutil.rmtree(folder, ignore_errors=True)


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
        if error.errno in FULL:
            raise RunError(
                f"{out}: the disk is full ({error.strerror}). Free some space or write to another disk, then run the "
                "same command again: it goes on with what it had finished"
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


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


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
    old = out.parent / f".{out.name}{_REPLACED}{uuid4().hex[:12]}"
    if out.exists() and _exchange(temporary, out):
        temporary.rename(old)
    else:
        if out.exists():
            out.rename(old)
        temporary.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step, where the system can: whoever is killed leaves one of them in each place."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = (os.fsencode(path.absolute()) for path in (one, other))
    return rename is not None and rename(*(part for name in names for part in (_HERE, name)), _SWAP) == 0


def _recover(out: Path, marker: str) -> None:
    """Put in order what a process has left that was killed while it replaced `out`."""
    if not out.parent.is_dir():
        return
    for old in out.parent.glob(f".{glob.escape(out.name)}{_REPLACED}" + "[0-9a-f]" * 12):
        if old.is_symlink() or not (old / marker).is_file():
            continue
        with writing(out):
            if os.path.lexists(out):
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(out)


class RemoteOutput:
    """A place in a store.

    Args:
        url: of the place, which works as a folder.
        folder: the local folder that files are written in; each is removed when it is in the store.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self._url = url.rstrip("/")
        self._fs, self._path = open_store(self._url)

    def add(self, file: Path) -> None:
        """Copy a file to the store, see that it arrived whole, and remove it here.

        Raises:
            UserError: the store doesn't take it.
        """
        target, size = f"{self._path}/{file.name}", file.stat().st_size

        def attempt() -> None:
            self._fs.put_file(str(file), target)
            self._fs.invalidate_cache()
            arrived = self._fs.info(target)["size"]
            if arrived != size:
                raise EOFError(f"{arrived} of {size} bytes of {file.name} arrived")

        with uploading(self._url):
            retry(attempt)
        file.unlink()

    def names(self) -> set[str]:
        """The files that are there.

        Raises:
            UserError: the store can't be listed.
        """
        with uploading(self._url):
            try:
                return {str(path).rpartition("/")[2] for path in self._fs.find(self._path)}
            except FileNotFoundError:
                return set()


def local_folder(out: Path | str) -> Path | None:
    """The folder that a path or URL means; None where it lies in a store.

    Raises:
        UserError: the store's driver is missing.
    """
    if isinstance(out, Path) or "://" not in out:
        return Path(out)
    fs, path = open_store(out)
    return Path(path) if is_local(fs) else None


@contextmanager
def new_remote(url: str, *, overwrite: bool, journal: str) -> Iterator[RemoteOutput]:
    """A place in a store to write to; what is already there is never replaced.

    Args:
        url: of the place.
        overwrite: refused where anything is there: files in a store are for the user to remove.
        journal: see `output.unfinished`; the local folder of one URL is always the same, in the cache.

    Raises:
        OutputExistsError: there are files that an unfinished block hasn't left.
        UserError: the store can't be written, or the place is being written already.
    """
    folder = cache_folder() / "uploads" / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:24]
    with (
        writing(folder, "set MPLFRAME_CACHE to a folder that can be written"),
        unfinished(folder, url, journal),
    ):
        output = RemoteOutput(url, folder)
        found = output.names()
        if found and (overwrite or not (folder / journal).exists()):
            raise OutputExistsError(
                f"{url}: has {len(found):,} file(s) already, such as {min(found)}, and files in a store are never "
                "overwritten; remove them or choose another place"
            )
        yield output
