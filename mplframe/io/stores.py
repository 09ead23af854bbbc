"""Any store that fsspec knows, with errors that say what to do."""

from __future__ import annotations

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from mplframe.errors import DataError, MplframeError, UserError
from mplframe.io.requests import (
    FINAL,
    TIMEOUT,
    RangesUnsupportedError,
    call,
    is_local,
    open_store,
    read_range,
    retry,
    url_of,
)

# The first that a store gives tells contents apart.
_VERSIONS = (
    "md5Hash", "generation", "VersionId", "ETag", "etag", "blob_id", "Content-MD5", "mtime", "LastModified",
    "Last-Modified", "last_modified", "created",
)  # fmt: skip

log = logging.getLogger(__name__)


class StoreError(UserError):
    """A store that can't be reached or refuses; says nothing about the data in it."""


class Info(NamedTuple):
    """What a store says of a file: its size in bytes, or None, and what changes with its content, or nothing."""

    size: int | None
    version: str


def info_of(said: Mapping[str, Any]) -> Info:
    """What a driver's details of a file amount to, the same for a file in a listing and alone."""
    version = next((f"{key}={_plain(said[key])}" for key in _VERSIONS if said.get(key)), "")
    size = said.get("size")
    return Info(None if size is None else int(size), version)


def _plain(value: Any) -> str:
    # Drivers quote tags, and say times as numbers, in one place and not in the other.
    if isinstance(value, datetime):
        value = value.timestamp()
    return f"{value:.6f}" if isinstance(value, float) else str(value).strip('"')


class Stores:
    """Requests to the stores of some URLs.

    fsspec's asynchronous filesystems can't be used after a fork, so each process opens its own, when it first needs it.

    Args:
        options: handed to the drivers.
        timeout: seconds that one request may take before it is tried again.
        ranges: whether stores that aren't local give ranges of bytes; None finds it out.
    """

    def __init__(
        self, options: Mapping[str, Any] | None = None, *, timeout: float = TIMEOUT, ranges: bool | None = None
    ) -> None:
        self.options, self.timeout = dict(options or {}), timeout
        self._ranges: dict[str, bool | None] = defaultdict(lambda: ranges)
        self._asking = threading.Lock()
        self._opened: dict[tuple[int, str], tuple[Any, str]] = {}
        self._lock = threading.Lock()

    def open(self, url: str) -> tuple[Any, str]:
        """The filesystem of a URL, and the path on it; files of one folder share a filesystem.

        Raises:
            UserError: as `open_store`.
        """
        if not url.startswith("/") and "://" not in url and "::" not in url:
            url = str(Path.cwd() / url)  # what is kept has to hold when the program goes to another folder
        folder, _, name = url.rpartition("/")
        alone = "::" in url or "?" in url or not folder
        with self._lock:
            for key in ((os.getpid(), url), (os.getpid(), folder)):
                if key in self._opened:
                    fs, path = self._opened[key]
                    return fs, path if key[1] == url else path + name
            fs, path = open_store(url, self.options, timeout=self.timeout)
            if alone or not path.endswith(f"/{name}"):
                self._opened[os.getpid(), url] = fs, path
            else:
                self._opened[os.getpid(), folder] = fs, path.removesuffix(name)
        return fs, path

    def local_path(self, url: str) -> str | None:
        """The path of a file that can be opened as it is; None of any other."""
        fs, path = self.open(url)
        return path if is_local(fs) else None

    def has_ranges(self, url: str) -> bool:
        """Whether the store of a file gives ranges of bytes; it is asked once.

        Raises:
            FileNotFoundError: there is no such file; or what the driver raises.
        """
        if self.local_path(url) is not None:
            return True
        host = "/".join(url.split("/")[:3])
        with self._asking:
            if self._ranges[host] is None:
                try:
                    self.read_range(url, 0, 1)
                    self._ranges[host] = True
                except RangesUnsupportedError:
                    log.info("%s gives no ranges of bytes: shards are fetched whole, one stream each", host)
                    self._ranges[host] = False
            return bool(self._ranges[host])

    def info(self, url: str) -> Info:
        """What the store says of a file now.

        Raises:
            FileNotFoundError: there is none; or what the driver raises.
        """
        fs, path = self.open(url)

        def attempt() -> Info:
            fs.invalidate_cache(path)
            try:
                return info_of(call(fs, "info", path, timeout=self.timeout))
            except FileNotFoundError as error:
                raise _cause(fs, error) from error

        return retry(attempt)

    def glob(self, url: str) -> list[tuple[str, Info | None]]:
        """The files that a pattern matches, sorted, with what the listing tells of them.

        Raises:
            OSError: or what the driver raises.
        """
        fs, path = self.open(url)
        fs.invalidate_cache()
        found = retry(lambda: call(fs, "glob", path, timeout=self.timeout, detail=True))
        files = [(name, entry) for name, entry in sorted(found.items()) if entry["type"] == "file"]
        if is_local(fs):
            return [(name, None) for name, _ in files]
        infos = ((url_of(fs, name, url), info_of(entry)) for name, entry in files)
        return [(name, info if info.size is not None else None) for name, info in infos]

    def folder(self, url: str) -> dict[str, Info]:
        """What lies beside a file, by URL's last part; the sizes may be missing.

        Raises:
            OSError: or what the driver raises, where the store doesn't list folders.
        """
        fs, path = self.open(url)
        parent = path.rpartition("/")[0]
        fs.invalidate_cache(parent)
        found = call(fs, "ls", parent, timeout=self.timeout, detail=True)
        return {str(entry["name"]).rpartition("/")[2]: info_of(entry) for entry in found if entry["type"] == "file"}

    def read(self, url: str) -> bytes:
        """The whole of a small file.

        Raises:
            FileNotFoundError: there is none; or what the driver raises.
        """
        fs, path = self.open(url)
        content: bytes = retry(lambda: call(fs, "cat_file", path, timeout=self.timeout))
        return content

    def read_range(self, url: str, start: int, end: int) -> bytes:
        """See the function of this name."""
        fs, path = self.open(url)
        return read_range(fs, path, start, end, timeout=self.timeout)

    def download(self, url: str, target: Path, size: int | None) -> None:
        """Fetch a file as one stream.

        Raises:
            OSError: or what the driver raises, after the last attempt.
        """
        fs, path = self.open(url)

        def attempt() -> None:
            fs.get_file(path, str(target))
            came = target.stat().st_size
            if size is not None and came != size:
                raise EOFError(f"{path}: {came} of {size} bytes came")

        retry(attempt)


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Turns whatever a storage driver raises into one line about the URL.

    Raises:
        DataError: there is no such file.
        StoreError: in place of any other error of a driver.
    """
    try:
        yield
    except MplframeError:
        raise
    except FileNotFoundError as error:
        raise DataError(
            f"{url} doesn't exist; check the URL (mplframe data pack --help shows how to make shards)"
        ) from error
    except PermissionError as error:
        raise StoreError(f"{url}: access refused ({error}); check the credentials and data.storage_options") from error
    except RangesUnsupportedError as error:
        raise StoreError(
            f"{url}: its store gives no ranges of bytes, which data.reader: indexed needs; set data.reader to auto"
        ) from error
    except TimeoutError as error:
        raise StoreError(
            f"{url} can't be read: no answer in time; check the network, or set data.timeout to more seconds"
        ) from error
    except Exception as error:  # a driver may raise anything: botocore's and aiohttp's errors extend no common class
        said = " ".join(str(error).split()) or type(error).__name__
        raise StoreError(f"{url} can't be read: {said}; check the URL, the network and data.storage_options") from error


def _cause(fs: Any, error: FileNotFoundError) -> BaseException:
    """What really happened: fsspec's HTTP driver says "not found" of every failure."""
    cause = error.__cause__
    if cause is None or "http" not in fs.protocol or getattr(cause, "status", None) in {404, 410}:
        return error
    return cause


@contextmanager
def uploading(url: str) -> Iterator[None]:
    """Turns whatever a storage driver raises while it writes into one line about the URL.

    Raises:
        UserError: in place of the driver's error.
    """
    try:
        yield
    except MplframeError:
        raise
    except Exception as error:  # a driver may raise anything
        raise refused(url, error) from error


def refused(url: str, error: BaseException) -> UserError:
    """What a driver's error while it writes means for the user."""
    said = str(error) or type(error).__name__
    if isinstance(error, FINAL):
        return UserError(f"{url}: can't be written: {said}; check the URL and the credentials")
    return UserError(
        f"{url}: can't be written: {said}; run the same command again, which goes on with what it had finished, or "
        "check the network"
    )
