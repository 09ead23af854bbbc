"""Drivers of stores, and requests to them: timeouts, retries, exact ranges."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import fsspec
from fsspec.asyn import AsyncFileSystem, sync

from mplframe.errors import FULL, UserError

EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "mplframe[s3]"),
    **dict.fromkeys(("gs", "gcs"), "mplframe[gs]"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "mplframe[azure]"),
    **dict.fromkeys(("http", "https"), "mplframe[http]"),
    "hf": "huggingface_hub",
}
"""What to install for a protocol whose driver doesn't come with fsspec."""

TIMEOUT = 60.0
"""Seconds that one request may take."""


def open_store(
    url: str, storage_options: Mapping[str, Any] | None = None, *, timeout: float = TIMEOUT, retries: bool = False
) -> tuple[Any, str]:
    """The fsspec filesystem of a URL, and the path on it.

    Args:
        url: of a file, folder or pattern.
        storage_options: handed to the driver.
        timeout: seconds after which a connection that stays silent is given up, where the options don't say.
        retries: let the driver try again by itself, for those who read and write streams; `retrying` is for the others.

    Raises:
        UserError: the protocol isn't known, its driver isn't installed (names what to install), or refuses the options.
    """
    protocol = fsspec.utils.get_protocol(url)
    try:
        fs, path = fsspec.url_to_fs(url, **_with_defaults(protocol, storage_options or {}, timeout, retries))
    except ImportError as error:
        extra = EXTRAS.get(protocol, "the fsspec driver of it")
        raise UserError(f"{url}: no driver for {protocol}:// is installed; pip install '{extra}' ({error})") from error
    except Exception as error:  # a driver's constructor may raise anything
        raise UserError(f"{url} can't be opened: {error}; check the URL and data.storage_options") from error
    return fs, path


def _with_defaults(protocol: str, options: Mapping[str, Any], timeout: float, retries: bool) -> dict[str, Any]:
    if protocol in {"s3", "s3a"}:
        config: dict[str, Any] = {"read_timeout": timeout, "connect_timeout": timeout}
        if not retries:
            # botocore's attempts would multiply with ours, and draw from Python's random numbers.
            config["retries"] = {"max_attempts": 0}
        return {**options, "config_kwargs": {**config, **options.get("config_kwargs", {})}}
    if protocol in {"http", "https"}:
        from aiohttp import ClientTimeout

        # The driver's own limit is five minutes for a whole file, however well it flows.
        flowing = ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)
        return {**options, "client_kwargs": {"timeout": flowing, **options.get("client_kwargs", {})}}
    return dict(options)


def is_local(fs: Any) -> bool:
    """Whether paths on this filesystem can be opened as they are."""
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def url_of(fs: Any, path: str, like: str) -> str:
    """The URL of a path on a filesystem that was opened for a URL like this one."""
    first, chained, rest = like.partition("::")
    if not chained:
        return str(fs.unstrip_protocol(path))
    scheme = first.partition("://")
    # `zip://*.tar::s3://...` has its pattern in front, `simplecache::s3://.../*.tar` has it behind.
    return f"{scheme[0]}://{path}::{rest}" if scheme[1] else f"{first}::{fs.unstrip_protocol(path)}"


ATTEMPTS = 8
FIRST_PAUSE = 0.05
SMALLEST_RANGE = 64 << 10
# Trying again can't help here. Everything else may be a dropped link: drivers share no class of errors for it.
FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, ImportError, NotImplementedError, TypeError, UserError)
_PASSING_STATUS = {408, 425, 429}  # of the HTTP answers below 500

_JITTER = random.Random()  # a run's own random numbers must not depend on how often a link failed

Result = TypeVar("Result")


class RangesUnsupportedError(OSError):
    """The store answered a request for a range of bytes with something longer."""


def retry(attempt: Callable[[], Result], *, pause: float = FIRST_PAUSE) -> Result:
    """What `attempt` returns, trying again with growing pauses (seconds) after an error that may pass."""
    for failures in range(1, ATTEMPTS):
        try:
            return attempt()
        except Exception as error:
            if _is_final(error):
                raise
            time.sleep(pause * 2 ** (failures - 1) * (0.5 + _JITTER.random()))
    return attempt()


def read_range(
    fs: Any, path: str, start: int, end: int, *, pause: float = FIRST_PAUSE, timeout: float = TIMEOUT
) -> bytes:
    """Exactly the bytes `start` to `end` of a file; never fewer.

    After a failure the next request asks for half as much, so that a link that dies after so many bytes still gets
    through; only failures without progress count as attempts.

    Raises:
        RangesUnsupportedError: the store ignores ranges.
        OSError: or what the driver raises, after the last attempt.
    """
    parts: list[bytes] = []
    at, step = start, end - start

    def attempt() -> bytes:
        nonlocal step
        stop = min(end, at + step)
        step = max(SMALLEST_RANGE, step // 2)
        part: bytes = call(fs, "cat_file", path, timeout=timeout, start=at, end=stop)
        if len(part) > stop - at:
            raise RangesUnsupportedError(f"{path}: asked for {stop - at} bytes, got {len(part)}")
        if len(part) < stop - at:
            raise EOFError(f"{path}: asked for {stop - at} bytes at {at}, got {len(part)}")
        step = stop - at
        return part

    while at < end:
        parts.append(retry(attempt, pause=pause))
        at += len(parts[-1])
    return parts[0] if len(parts) == 1 else b"".join(parts)


def call(fs: Any, method: str, *args: Any, timeout: float, **kwargs: Any) -> Any:
    """A driver's method, given up after `timeout` seconds where the driver can be interrupted."""
    if isinstance(fs, AsyncFileSystem) and fs.async_impl:
        return sync(fs.loop, getattr(fs, f"_{method}"), *args, timeout=timeout, **kwargs)
    return getattr(fs, method)(*args, **kwargs)


def _is_final(error: Exception) -> bool:
    status = getattr(error, "status", None)
    refused = isinstance(status, int) and 400 <= status < 500 and status not in _PASSING_STATUS
    full = isinstance(error, OSError) and error.errno in (*FULL, errno.EROFS)
    nobody = "Credentials" in type(error).__name__  # botocore's: none were found
    return refused or full or nobody or isinstance(error, (*FINAL, RangesUnsupportedError))
