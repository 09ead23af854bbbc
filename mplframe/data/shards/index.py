"""The index of a shard: which samples it has and where they lie, found by one scan of the tar.

Python's tarfile ends in silence at a damaged header or a cut between two members; here that is told.
"""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from mplframe.data.decoding.image import IMAGE_EXTENSIONS
from mplframe.data.decoding.video import VIDEO_EXTENSIONS
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


_NAME = re.compile(r"((?:.*/|)[^./]+)[.]([^/]*)")
_IGNORED = re.compile(r"(__[^/]*__(?:$|/).*)|(.*/)?\.[^/]*")
_Samples = dict[str, dict[str, Member]]


@dataclass(frozen=True)
class ShardIndex:
    """The samples of one shard, in a few flat arrays.

    Attributes:
        size: of the shard, in bytes.
        check: CRC-32 of some of the shard's headers; see `header_check`.
        damage: (key, reason) of every sample that isn't whole, and is no part of the index; the key is empty where the
            rest of the shard is lost.
        keys: UTF-8 of all keys, one behind the other.
        key_ends: [N] where each key ends in `keys`.
        extensions: [E] the extensions that occur, lower case.
        first: [N + 1] the members of sample i are `first[i]` to `first[i + 1]`.
        extension: [M] of each member, as a number in `extensions`.
        offset: [M] where each member's content begins in the shard, in bytes.
        length: [M] of each member's content, in bytes.
    """

    size: int
    check: int
    damage: tuple[tuple[str, str], ...]
    keys: npt.NDArray[np.uint8]
    key_ends: npt.NDArray[np.int64]
    extensions: tuple[str, ...]
    first: npt.NDArray[np.int64]
    extension: npt.NDArray[np.uint16]
    offset: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.key_ends)

    def key(self, sample: int) -> str:
        """The key of a sample."""
        return self.keys_of(np.array([sample]))[0]

    def keys_of(self, samples: npt.NDArray[np.int64]) -> list[str]:
        """The keys of some samples, by their numbers from 0."""
        ends = self.key_ends[samples].tolist()
        starts = np.where(samples > 0, self.key_ends[samples - 1], 0).tolist()
        view = self.keys.data
        return [str(view[i:j], "utf-8", "surrogateescape") for i, j in zip(starts, ends, strict=True)]

    def members(self, sample: int) -> dict[str, tuple[int, int]]:
        """Extension -> offset and length in bytes, for each member of a sample."""
        return {
            self.extensions[self.extension[i]]: (int(self.offset[i]), int(self.length[i]))
            for i in range(self.first[sample], self.first[sample + 1])
        }

    def best(self, extensions: Sequence[str]) -> npt.NDArray[np.int64]:
        """[N] the member of each sample whose extension comes first in `extensions`; -1 where it has none of them."""
        if not len(self):
            return np.empty(0, np.int64)
        rank = {extension: i for i, extension in enumerate(extensions)}
        ranks = np.array([rank.get(extension, len(rank)) for extension in self.extensions], np.int64)[self.extension]
        count = len(ranks)
        best = np.minimum.reduceat(ranks * count + np.arange(count), self.first[:-1])
        return np.where(best < len(rank) * count, best % count, -1)


def index_shard(path: Path) -> ShardIndex:
    """`index_file` of a local file."""
    with path.open("rb") as file:
        return index_file(file, str(path))


def index_file(file: BinaryIO, where: str) -> ShardIndex:
    """Read a shard's table of contents; members are grouped by their name up to the first dot (the WebDataset rule).

    Hidden files and `__name__` metadata at the top, which aren't samples by that rule, are passed over. A damaged shard
    gives what lies whole before the damage; the last sample before it counts only where another one's header follows.

    Args:
        file: the shard; can be read and sought in.
        where: its name, for errors.

    Raises:
        DataError: the shard isn't damaged but ambiguous: compressed, links (see `tar.members`), a file without
            extension, one member twice, samples whose members aren't adjacent, or samples with several images.
    """
    samples: _Samples = {}
    damage: list[tuple[str, str]] = []
    try:
        for member in members(file, where):
            _add(samples, member, where)
    except TarDamageError as error:
        lost = _unfinished(samples, error, where)
        if lost is not None:
            samples.pop(lost, None)
            damage.append((lost, f"the last sample before the damage may not be whole: {error}"))
        damage.append(("", str(error)))
    if not samples and not damage:
        damage.append(("", "no samples in it; leave this shard out or write it again (mplframe data pack --help)"))
    _refuse_merged(samples, where)
    return _pack(samples, damage, file)


def header_check(read: Callable[[int, int], bytes], offsets: npt.NDArray[np.int64]) -> int:
    """CRC-32 of the headers of the first, the middle and the last member; 0 where there are none.

    Args:
        read: the bytes of the shard from one place to another.
        offsets: [M] where each member's content begins; its header is the block before that.
    """
    check = 0
    for i in (0, len(offsets) // 2, -1) if len(offsets) else ():
        check = zlib.crc32(read(int(offsets[i]) - BLOCK, int(offsets[i])), check)
    return check


def read_at(file: BinaryIO, start: int, end: int) -> bytes:
    """The bytes from one place of a file to another."""
    file.seek(start)
    return file.read(end - start)


def _add(samples: _Samples, member: Member, where: str) -> None:
    split = _split(member.name, where)
    if split is None:
        return
    key, extension = split
    if key in samples and key != next(reversed(samples)):
        raise DataError(
            f"{where}: the members of sample {key!r} aren't adjacent ({member.name!r} comes late); "
            f"a reader would make two samples of it: write the shard again, sorted by name (tar --sort=name)"
        )
    group = samples.setdefault(key, {})
    if extension in group:
        raise DataError(f"{where}: member {member.name!r} occurs twice; write the shard again with unique names")
    group[extension] = member


def _split(name: str, where: str) -> tuple[str, str] | None:
    """Key and extension of a member; None of one that belongs to no sample."""
    if _IGNORED.fullmatch(name):
        return None
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError(
            f"{where}: member {name!r} has no extension, so what it holds can't be told; name it like 0001.jpg"
        )
    return match[1], match[2].lower()


def _unfinished(samples: _Samples, error: TarDamageError, where: str) -> str | None:
    """The key of the sample that may have lost members to the damage."""
    cut = None if error.cut is None else _split(error.cut, where)
    if cut is not None:
        return cut[0]
    return next(reversed(samples), None) if not error.ended else None


def _refuse_merged(samples: _Samples, where: str) -> None:
    for key, group in samples.items():
        for what, extensions in (("images", IMAGE_EXTENSIONS), ("videos", VIDEO_EXTENSIONS)):
            found = [member.name for ext, member in group.items() if ext.rpartition(".")[2] in extensions]
            if len(found) > 1:
                raise DataError(
                    f"{where}: sample {key!r} has {len(found)} {what} ({', '.join(found[:3])}), because a key ends at "
                    f"the first dot of a name; rename them so that their names differ before the first dot"
                )


def _pack(samples: _Samples, damage: list[tuple[str, str]], file: BinaryIO) -> ShardIndex:
    encoded = [key.encode(errors="surrogateescape") for key in samples]
    flat = [item for group in samples.values() for item in group.items()]
    names = sorted({extension for extension, _ in flat})
    numbers = {name: i for i, name in enumerate(names)}
    offset = np.array([member.offset for _, member in flat], np.int64)
    return ShardIndex(
        size=file.seek(0, io.SEEK_END),
        check=header_check(partial(read_at, file), offset),
        damage=tuple(damage),
        keys=np.frombuffer(b"".join(encoded), np.uint8),
        key_ends=np.cumsum([len(key) for key in encoded], dtype=np.int64),
        extensions=tuple(names),
        first=np.cumsum([0, *map(len, samples.values())], dtype=np.int64),
        extension=np.array([numbers[extension] for extension, _ in flat], np.uint16),
        offset=offset,
        length=np.array([member.size for _, member in flat], np.int64),
    )
