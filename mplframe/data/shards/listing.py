"""Which shards some URLs stand for."""

from __future__ import annotations

import glob
import hashlib
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from braceexpand import braceexpand

from mplframe.errors import DataError
from mplframe.io.files import lines_of
from mplframe.io.stores import Info, Stores, explained
from mplframe.io.threads import over_shards

log = logging.getLogger(__name__)

LISTED = 32
"""From so many shards of one folder on, listing the folder is cheaper than asking for each."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as its store describes it.

    Attributes:
        url: where it lies.
        size: in bytes; None where the store doesn't tell.
        version: changes with the content (ETag, time of change); empty where the store doesn't tell.
    """

    url: str
    size: int | None
    version: str

    @property
    def identity(self) -> str:
        """A name for this content at this place."""
        return hashlib.sha256(repr((self.url, self.size, self.version)).encode()).hexdigest()[:32]


def list_shards(urls: str | Sequence[str], stores: Stores) -> list[Shard]:
    """All shards that some URLs stand for, as they are now.

    Args:
        urls: as of `expand`.
        stores: where they lie.

    Raises:
        DataError: as of `expand`, or a shard doesn't exist.
        StoreError, UserError: the store can't be reached, or its driver is missing.
    """
    found = expand(urls, stores)
    remote = [url for url, info in found.items() if info is None and stores.local_path(url) is None]
    found.update(_listed(remote, stores))
    remote = [url for url in remote if found[url] is None]
    found.update(zip(remote, over_shards(lambda url: describe(url, stores), remote), strict=True))
    return [Shard(url, *(info or describe(url, stores))) for url, info in found.items()]


def describe(url: str, stores: Stores) -> Info:
    """Size and version of a shard now.

    Raises:
        DataError: it doesn't exist.
        StoreError: the store can't be reached.
    """
    with explained(url):
        path = stores.local_path(url)
        if path is None:
            return stores.info(url)
        found = os.stat(path)  # noqa: PTH116  # of 100,000 shards, pathlib takes half the time
        if not stat.S_ISREG(found.st_mode):
            raise FileNotFoundError(path)
        return Info(found.st_size, str(found.st_mtime_ns))


def inside(folder: Path | str, pattern: str) -> str:
    """The pattern below a folder; what the folder's own name has of `[`, `*`, `?`, braces is no pattern."""
    literal = glob.escape(str(folder)).replace("\\", "\\\\").replace("{", "\\{").replace("}", "\\}")
    return f"{literal}/{pattern}"


def expand(urls: str | Sequence[str], stores: Stores) -> dict[str, Info | None]:
    """All shards that some URLs stand for, with what a listing has already told of them.

    Args:
        urls: one or several; each may hold brace patterns (`{000..099}`) and globs (`*`, `[0-9]`, `?`), or end with
            `.txt`: then it is a list of such URLs, one a line, relative ones relative to the list; lines that begin
            with `#` are comments.
        stores: where they lie.

    Returns:
        URLs in the order given; those of one glob are sorted.

    Raises:
        DataError: a pattern is malformed, matches nothing, or a shard is named twice.
        StoreError, UserError: the store can't be reached, or its driver is missing.
    """
    named = list(_named([urls] if isinstance(urls, str) else urls, stores))
    if not named:
        raise DataError("an empty list of shards was given; name at least one")
    twice = [url for url, count in Counter(url for url, _ in named).items() if count > 1]
    if twice:
        raise DataError(f"shard {twice[0]} is named twice; its samples would count double: remove one")
    return dict(named)


def _named(urls: Iterable[str], stores: Stores) -> Iterator[tuple[str, Info | None]]:
    for pattern in urls:
        for url in _spelled(pattern):
            if _is_list(url):
                for line in _lines(url, stores):
                    yield from _matches(line, stores)
            else:
                yield from _matches(url, stores)


def _spelled(pattern: str) -> list[str]:
    try:
        return list(braceexpand(pattern))
    except ValueError as error:
        raise DataError(f"{pattern}: braces don't match ({error}); write for example shard-{{000..099}}.tar") from error


def _is_list(url: str) -> bool:
    return url.partition("?")[0].endswith(".txt")


def _lines(url: str, stores: Stores) -> Iterator[str]:
    with explained(url):
        text = stores.read(url).decode("utf-8-sig")
    folder = url.partition("?")[0].rpartition("/")[0]
    lines = [line.strip() for line in lines_of(text)]
    for line in lines:
        if line and not line.startswith("#"):
            for target in _spelled(line):
                if _is_list(target):
                    raise DataError(f"{url}: names another list, {target}; name shards alone")
                absolute = "://" in target or "::" in target or target.startswith("/") or not folder
                yield target if absolute else f"{folder}/{target}"


def _matches(url: str, stores: Stores) -> list[tuple[str, Info | None]]:
    # In an http URL a question mark starts the query.
    magic = "*[" if url.startswith("http") else "*?["
    if not any(sign in url for sign in magic):
        return [(url, None)]
    if "://" not in url and "::" not in url and Path(url).is_file():
        return [(url, None)]  # a file's own name, whatever signs are in it
    with explained(url):
        found = stores.glob(url)
    if not found:
        raise DataError(f"{url} matches no file; check the pattern, or make shards: mplframe data pack --help")
    return found


def _listed(urls: Sequence[str], stores: Stores) -> dict[str, Info]:
    """What listings of their folders tell of URLs, where that is cheaper than asking for each."""
    folders: dict[str, list[str]] = {}
    for url in urls:
        if "?" not in url:
            folders.setdefault(url.rpartition("/")[0], []).append(url)
    found: dict[str, Info] = {}
    for inside in folders.values():
        if len(inside) >= LISTED:
            try:
                listing = stores.folder(inside[0])
            except Exception as error:  # not every store lists folders, nor lets everyone
                log.debug("the folder of %s can't be listed, so each shard is asked for: %s", inside[0], error)
                continue
            infos = ((url, listing.get(url.rpartition("/")[2])) for url in inside)
            found.update((url, info) for url, info in infos if info is not None and info.size is not None)
    return found
