"""Requests that are made again after errors that may pass."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from fsspec.asyn import AsyncFileSystem, sync

from mplframe.errors import FULL, UserError
from mplframe.stores.drivers import TIMEOUT

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
