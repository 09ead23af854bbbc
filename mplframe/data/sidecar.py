"""An index as a file: beside its shard as `<shard>.idx`, and in the local cache.

The format is NumPy's npz, compressed, with four arrays:

- `meta`: uint8, UTF-8 JSON: `format` (1), `size` of the shard in bytes, `check` (CRC-32 of the headers of its first,
  middle and last member, see `index.header_check`), `extensions` (a list), `damage` (a list of [key, reason]);
- `keys`: uint8, UTF-8 of all keys, one behind the other;
- `samples`: int64 [2, N], of each sample the length of its key in bytes, and how many members it has;
- `members`: int64 [3, M], of each member the number of its extension, the bytes between the content of the member
  before it (or the start of the shard) and its own, and the length of its content in bytes.
"""

from __future__ import annotations

import io
import json
import uuid
import zipfile
import zlib
from pathlib import Path

import numpy as np

from mplframe.data.index import ShardIndex, index_shard

FORMAT = 1


def write_index(shard: Path) -> Path:
    """Index a local shard and write its side-car.

    Returns:
        The side-car, `<shard>.idx`.

    Raises:
        DataError: the shard can't be used; see `index_file`.
        OSError: from writing.
    """
    target = shard.with_name(f"{shard.name}.idx")
    write_whole(target, sidecar_bytes(index_shard(shard)))
    return target


def sidecar_bytes(index: ShardIndex) -> bytes:
    """The content of a side-car; the same for equal indexes."""
    facts = {"size": index.size, "check": index.check, "extensions": index.extensions, "damage": index.damage}
    meta = json.dumps({"format": FORMAT, **facts}).encode()
    ends = index.offset + index.length
    before = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    with io.BytesIO() as file:
        np.savez_compressed(
            file,
            meta=np.frombuffer(meta, np.uint8),
            keys=index.keys,
            samples=np.stack([np.diff(index.key_ends, prepend=0), np.diff(index.first)]),
            members=np.stack([index.extension, index.offset - before, index.length]).astype(np.int64),
        )
        return file.getvalue()


def read_sidecar(content: bytes) -> ShardIndex:
    """The index that a side-car holds.

    Raises:
        ValueError: it isn't a side-car, or is damaged.
    """
    if content[:2] != b"PK":  # of a zip file, which npz is
        raise ValueError("it isn't an index of mplframe")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            meta = json.loads(file["meta"].tobytes())
            keys, (key_lengths, counts), (extension, gaps, lengths) = (file[n] for n in ("keys", "samples", "members"))
        if meta["format"] != FORMAT:
            raise ValueError(f"its format is {meta['format']}, not {FORMAT}")
        index = ShardIndex(
            size=int(meta["size"]),
            check=int(meta["check"]),
            damage=tuple((str(key), str(reason)) for key, reason in meta["damage"]),
            keys=keys,
            key_ends=np.cumsum(key_lengths),
            extensions=tuple(meta["extensions"]),
            first=np.cumsum(np.concatenate([[0], counts])),
            extension=extension.astype(np.uint16),
            offset=np.cumsum(gaps + lengths) - lengths,
            length=lengths.copy(),
        )
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"it isn't an index of mplframe, or is damaged ({error})") from error
    _check(index)
    return index


def write_whole(target: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all.

    Raises:
        OSError: from writing.
    """
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    try:
        part.write_bytes(content)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _check(index: ShardIndex) -> None:
    """Every place that the index names must lie within the shard, and every number within its array."""
    samples, members = len(index), len(index.offset)
    fits = int(index.first[-1]) == members and (not samples or int(index.key_ends[-1]) == len(index.keys))
    fits = fits and bool((np.diff(index.first) > 0).all() and (np.diff(index.key_ends, prepend=0) > 0).all())
    if fits and members:
        ends = index.offset + index.length
        fits = int(index.extension.max()) < len(index.extensions) and int(index.length.min()) >= 0
        fits = fits and int(index.offset.min()) >= 0 and int(ends.max()) <= index.size
    if not fits:
        raise ValueError("its numbers contradict each other")
