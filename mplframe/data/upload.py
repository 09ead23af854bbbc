"""Files that are written on the local disk and go to a store one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mplframe.data.local import cache_folder
from mplframe.data.output import OutputExistsError, unfinished, writing
from mplframe.stores.drivers import is_local, open_store
from mplframe.stores.retrying import retry
from mplframe.stores.sending import uploading


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
