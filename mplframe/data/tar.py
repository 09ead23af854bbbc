"""A strict reader of a tar file's table of contents.

Python's tarfile ends in silence at a damaged header or a cut between two members; here that is an error.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mplframe.errors import DataError

BLOCK = 512
_REMEDY = "fetch or write the shard again (mplframe data pack --help)"


class Member(NamedTuple):
    """A regular file in a tar: its name, and where its content lies, in bytes."""

    name: str
    offset: int
    size: int


def members(path: Path) -> Iterator[Member]:
    """The regular files of a tar, in order.

    Raises:
        DataError: it isn't a plain tar, is cut or damaged anywhere but in the content of its files, or holds links or
            sparse files, whose content doesn't lie in one piece.
    """
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for info in iter(tar.next, None):
                    tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header otherwise
                    if info.isdir():
                        continue
                    if not info.isreg() or info.issparse():
                        raise DataError(
                            f"{path}: member {info.name!r} is a link, a sparse or a special file; pack plain files"
                        )
                    if info.offset_data + info.size > length:
                        raise DataError(_cut(path, info.name, info.offset_data + info.size, length))
                    yield Member(info.name, info.offset_data, info.size)
                end = tar.offset
        except tarfile.TarError as error:
            raise DataError(f"{path}: not a plain tar file ({error}){_compressed(file)}; {_REMEDY}") from error
        _check_end(path, file, end, length)


def _check_end(path: Path, file: BinaryIO, end: int, length: int) -> None:
    """Behind the last member there must be a block of zeros, and zeros alone."""
    file.seek(end)
    block = file.read(BLOCK)
    if len(block) < BLOCK:
        raise DataError(
            f"{path}: cut short: after {length} bytes there is no end-of-archive mark, which belongs at byte {end}; "
            f"{_REMEDY}"
        )
    while block:
        if block.strip(b"\0"):
            at = file.tell() - len(block)
            raise DataError(
                f"{path}: damaged at byte {at}: neither a valid member header nor the end of the archive "
                f"(tar files that were joined look like this too); {_REMEDY}"
            )
        block = file.read(1 << 20)


def _cut(path: Path, name: str, needed: int, length: int) -> str:
    return f"{path}: cut short: member {name!r} reaches to byte {needed} but the file has {length}; {_REMEDY}"


def _compressed(file: BinaryIO) -> str:
    file.seek(0)
    known = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}
    kind = known.get(file.read(2))
    return f": it is compressed with {kind}, but samples are read by their place; decompress it" if kind else ""
