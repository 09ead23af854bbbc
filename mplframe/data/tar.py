"""A strict reader of a tar file's table of contents.

Python's tarfile ends in silence at a damaged header or a cut between two members; here that is told.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from mplframe.errors import DataError

BLOCK = 512
_REMEDY = "fetch or write the shard again (mplframe data pack --help)"
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}


class Member(NamedTuple):
    """A regular file in a tar: its name, and where its content lies, in bytes."""

    name: str
    offset: int
    size: int


class TarDamageError(Exception):
    """From here on a tar can't be read.

    Attributes:
        cut: the name of the member whose content is cut; None where the damage lies between two members.
        ended: whether the last member was properly followed by the end of an archive.
    """

    def __init__(self, reason: str, *, cut: str | None = None, ended: bool = False) -> None:
        super().__init__(f"{reason}; {_REMEDY}")
        self.cut, self.ended = cut, ended


def members(file: BinaryIO, where: str) -> Iterator[Member]:
    """The regular files of a tar, in order, up to its end or its first damage.

    Args:
        file: can be read and sought in.
        where: its name, for errors.

    Raises:
        TarDamageError: after the last whole member: the tar is cut or damaged anywhere but in the content of its files.
        DataError: it is compressed, or holds links or sparse files, whose content doesn't lie in one piece.
    """
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    kind = _COMPRESSED.get(file.read(2))
    if kind is not None:
        raise DataError(
            f"{where}: it is compressed with {kind}, but samples are read by their place in a plain tar; decompress it"
        )
    file.seek(0)
    end = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for info in iter(tar.next, None):
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header otherwise
                if info.isdir():
                    continue
                if not info.isreg() or info.issparse():
                    raise DataError(
                        f"{where}: member {info.name!r} is a link, a sparse or a special file; pack plain files"
                    )
                end = info.offset_data + info.size
                if end > length:
                    raise TarDamageError(
                        f"cut short: member {info.name!r} reaches to byte {end} but the file has {length}",
                        cut=info.name,
                    )
                yield Member(info.name, info.offset_data, info.size)
            end = tar.offset
    except tarfile.TarError as error:
        said = f"cut short or damaged behind byte {end}" if end else "not a plain tar file"
        raise TarDamageError(f"{said} ({error})") from error
    _check_end(file, end, length)


def _check_end(file: BinaryIO, end: int, length: int) -> None:
    """Behind the last member there must be a block of zeros, and zeros alone."""
    file.seek(end)
    block = file.read(BLOCK)
    if len(block) < BLOCK:
        raise TarDamageError(
            f"cut short: after {length} bytes there is no end-of-archive mark, which belongs at byte {end}"
        )
    ended = not block.strip(b"\0")
    while block:
        if block.strip(b"\0"):
            raise TarDamageError(
                f"damaged at byte {file.tell() - len(block)}: neither a valid member header nor the end of the archive "
                f"(tar files that were joined look like this too), so {length - end} bytes are lost",
                ended=ended,
            )
        block = file.read(1 << 20)
