"""Shards on any store that fsspec knows: finding them and reading them safely."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import fsspec
from braceexpand import braceexpand

from mplframe.errors import DataError, UserError

EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "mplframe[s3]"),
    **dict.fromkeys(("gs", "gcs"), "mplframe[gs]"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "mplframe[azure]"),
    **dict.fromkeys(("http", "https"), "mplframe[http]"),
    "hf": "huggingface_hub",
}
"""What to install for a protocol whose driver doesn't come with fsspec."""

ATTEMPTS = 8
FIRST_PAUSE = 0.05
SMALLEST_RANGE = 64 << 10

# Trying again can't help here. Everything else may be a dropped link: drivers share no class of errors for it.
FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, ImportError, NotImplementedError, TypeError, DataError)

Result = TypeVar("Result")


class RangesUnsupportedError(OSError):
    """The store answered a request for a range of bytes with something longer."""


def open_store(url: str, storage_options: Mapping[str, Any] | None = None) -> tuple[Any, str]:
    """The fsspec filesystem of a URL, and the path on it.

    Raises:
        UserError: the protocol isn't known, its driver isn't installed (names what to install), or refuses the options.
    """
    protocol = fsspec.utils.get_protocol(url)
    try:
        fs, path = fsspec.url_to_fs(url, **(storage_options or {}))
    except ImportError as error:
        extra = EXTRAS.get(protocol, "the fsspec driver of it")
        raise UserError(f"{url}: no driver for {protocol}:// is installed; pip install '{extra}' ({error})") from error
    except Exception as error:  # a driver's constructor may raise anything
        raise UserError(f"{url} can't be opened: {error}; check the URL and data.storage_options") from error
    return fs, path


def is_local(fs: Any) -> bool:
    """Whether paths on this filesystem can be opened as they are."""
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Turns whatever a storage driver raises into one line about the URL.

    Raises:
        DataError: in place of the driver's error.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise DataError(
            f"{url} doesn't exist; check the URL (mplframe data pack --help shows how to make shards)"
        ) from error
    except PermissionError as error:
        raise DataError(f"{url}: access refused ({error}); check the credentials and data.storage_options") from error
    except Exception as error:  # a driver may raise anything: botocore's and aiohttp's errors extend no common class
        said = str(error) or type(error).__name__
        raise DataError(f"{url} can't be read: {said}; check the URL, the network and data.storage_options") from error


def expand(urls: str | Sequence[str], storage_options: Mapping[str, Any] | None = None) -> list[str]:
    """All shards that some URLs stand for.

    Args:
        urls: one or several; each may hold brace patterns (`{000..099}`) and globs (`*`, `[0-9]`, `?`).

    Returns:
        URLs in the order given; those of one glob are sorted. None occurs twice.

    Raises:
        DataError: a pattern is malformed, matches nothing, or a shard is named twice.
        UserError: the store's driver is missing.
    """
    found: list[str] = []
    for pattern in [urls] if isinstance(urls, str) else urls:
        try:
            spelled = list(braceexpand(pattern))
        except ValueError as error:
            raise DataError(
                f"{pattern}: braces don't match ({error}); write for example shard-{{000..099}}.tar"
            ) from error
        for url in spelled:
            found += _matches(url, storage_options)
    if not found:
        raise DataError("an empty list of shards was given; name at least one")
    if len(set(found)) < len(found):
        twice = next(url for i, url in enumerate(found) if url in found[:i])
        raise DataError(f"shard {twice} is named twice; its samples would count double: remove one")
    return found


def _matches(url: str, storage_options: Mapping[str, Any] | None) -> list[str]:
    # In an http URL a question mark starts the query.
    magic = "*[" if url.startswith("http") else "*?["
    if not any(sign in url for sign in magic):
        return [url]
    fs, path = open_store(url, storage_options)
    with explained(url):
        paths = sorted(fs.glob(path))
    if not paths:
        raise DataError(f"{url} matches no file; check the pattern, or make shards: mplframe data pack --help")
    return [path if is_local(fs) else fs.unstrip_protocol(path) for path in paths]


def retry(attempt: Callable[[], Result], *, attempts: int = ATTEMPTS, pause: float = FIRST_PAUSE) -> Result:
    """What `attempt` returns, trying again with growing pauses (seconds) after an error that may pass."""
    for failures in range(1, attempts):
        try:
            return attempt()
        except (*FINAL, RangesUnsupportedError):
            raise
        except Exception:
            time.sleep(pause * 2 ** (failures - 1) * (0.5 + random.random()))
    return attempt()


def read_range(fs: Any, path: str, start: int, end: int, *, pause: float = FIRST_PAUSE) -> bytes:
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
        part: bytes = fs.cat_file(path, start=at, end=stop)
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
