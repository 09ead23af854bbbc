"""Opening stores through fsspec's drivers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fsspec

from mplframe.errors import UserError

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
