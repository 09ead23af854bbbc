"""Where the samples of a shard lie."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mplframe.data.decode import IMAGE_EXTENSIONS
from mplframe.data.tar import Member, members
from mplframe.errors import DataError

_NAME = re.compile(r"((?:.*/|)[^./]+)[.]([^/]*)")
_IGNORED = re.compile(r"(__[^/]*__(?:$|/).*)|(.*/)?\.[^/]*")


@dataclass(frozen=True)
class ShardIndex:
    """The samples of one shard, in a few flat arrays.

    Attributes:
        keys: UTF-8 of all keys, one behind the other.
        key_ends: [N] where each key ends in `keys`.
        extensions: [E] the extensions that occur, lower case.
        first: [N + 1] the members of sample i are `first[i]` to `first[i + 1]`.
        extension: [M] of each member, as a number in `extensions`.
        offset: [M] where each member's content begins in the shard, in bytes.
        length: [M] of each member's content, in bytes.
    """

    keys: npt.NDArray[np.uint8]
    key_ends: npt.NDArray[np.int64]
    extensions: npt.NDArray[np.str_]
    first: npt.NDArray[np.int64]
    extension: npt.NDArray[np.uint16]
    offset: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.key_ends)

    def key(self, sample: int) -> str:
        """The key of a sample."""
        start = self.key_ends[sample - 1] if sample else 0
        return self.keys[start : self.key_ends[sample]].tobytes().decode(errors="surrogateescape")

    def members(self, sample: int) -> dict[str, tuple[int, int]]:
        """Extension -> offset and length in bytes, for each member of a sample."""
        span = slice(self.first[sample], self.first[sample + 1])
        names = self.extensions[self.extension[span]].tolist()
        places = zip(self.offset[span].tolist(), self.length[span].tolist(), strict=True)
        return dict(zip(names, places, strict=True))

    def having(self, extensions: Iterable[str]) -> npt.NDArray[np.bool_]:
        """[N] whether a sample has a member of one of these extensions."""
        wanted = np.isin(self.extensions, list(extensions))[self.extension]
        return np.logical_or.reduceat(wanted, self.first[:-1])


def index_shard(path: Path) -> ShardIndex:
    """Read a shard's table of contents; members are grouped by their name up to the first dot (the WebDataset rule).

    Hidden files and `__name__` metadata at the top, which aren't samples by that rule, are passed over.

    Raises:
        DataError: the tar is damaged (see `tar.members`), holds no samples, a file without extension, one member
            twice, samples whose members aren't adjacent, or samples with several images.
    """
    samples: dict[str, dict[str, Member]] = {}
    last = None
    for member in members(path):
        if _IGNORED.fullmatch(member.name):
            continue
        key, extension = _key(path, member.name)
        if key != last and key in samples:
            raise DataError(
                f"{path}: the members of sample {key!r} aren't adjacent ({member.name!r} comes late); "
                f"a reader would make two samples of it: write the shard again, sorted by name (tar --sort=name)"
            )
        group = samples.setdefault(key, {})
        if extension in group:
            raise DataError(f"{path}: member {member.name!r} occurs twice; write the shard again with unique names")
        group[extension] = member
        last = key
    if not samples:
        raise DataError(f"{path}: no samples in it; leave this shard out or write it again (mplframe data pack --help)")
    _refuse_merged(path, samples)
    return _pack(samples)


def _key(path: Path, name: str) -> tuple[str, str]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError(
            f"{path}: member {name!r} has no extension, so what it holds can't be told; name it like 0001.jpg"
        )
    return match[1], match[2].lower()


def _refuse_merged(path: Path, samples: dict[str, dict[str, Member]]) -> None:
    for key, group in samples.items():
        images = [member.name for ext, member in group.items() if ext.rpartition(".")[2] in IMAGE_EXTENSIONS]
        if len(images) > 1:
            raise DataError(
                f"{path}: sample {key!r} has {len(images)} images ({', '.join(images[:3])}), because a key ends at the "
                f"first dot of a name; rename them so that their names differ before the first dot"
            )


def _pack(samples: dict[str, dict[str, Member]]) -> ShardIndex:
    encoded = [key.encode(errors="surrogateescape") for key in samples]
    flat = [item for group in samples.values() for item in group.items()]
    names = sorted({extension for extension, _ in flat})
    numbers = {name: i for i, name in enumerate(names)}
    return ShardIndex(
        keys=np.frombuffer(b"".join(encoded), np.uint8),
        key_ends=np.cumsum([len(key) for key in encoded], dtype=np.int64),
        extensions=np.array(names),
        first=np.cumsum([0, *map(len, samples.values())], dtype=np.int64),
        extension=np.array([numbers[extension] for extension, _ in flat], np.uint16),
        offset=np.array([member.offset for _, member in flat], np.int64),
        length=np.array([member.size for _, member in flat], np.int64),
    )
