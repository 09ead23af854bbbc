"""The files of a checkpoint: whole or in shards, each checked when it is read."""

from __future__ import annotations

import pickle
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as load_distributed
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.tensor import DTensor

from mplframe.errors import CheckpointError, RunError
from mplframe.io.files import write_atomic

Sums = dict[str, int]
"""CRC-32 of each file, by name."""
Room = Callable[..., Tensor]
"""From a shape and `dtype=` to an empty tensor to read into: whole, or the shard that this process is to hold."""

SAFE = {
    "pathlib": {"PosixPath"},
    "pathlib._local": {"PosixPath"},
    "torch": {"Size", "dtype"},
    "torch.serialization": {"_get_layout"},
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo", "_StoragePrefix"},
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
}
"""What the index of a checkpoint may be made of."""


def begin(folder: Path, shards: Mapping[str, DTensor]) -> Future[Any]:
    """Copy this process's shards and begin to write them; all processes call it.

    Returns:
        What is done when all processes have written theirs.
    """
    _quiet()
    writer = FileSystemWriter(folder, sync_files=True)
    return cast("Future[Any]", async_save(dict(shards), storage_writer=writer, process_group=_writers()))


def finish(folder: Path, begun: Future[Any], shapes: Mapping[str, torch.Size]) -> Sums:
    """Wait for what was begun, and see that nothing is missing from it; all processes call it.

    Raises:
        RunError: it couldn't be written, or tensors or parts of them aren't there.
    """
    try:
        begun.result()
    except Exception as error:
        # A failed write arrives as torch's own kind of error, that of a lost process as gloo's.
        raise RunError(f"can't write the shards in {folder}: {_first_line(error)}") from error
    check_complete(folder, shapes)
    mine = sorted(folder.glob(f"__{dist.get_rank()}_*.distcp"))
    found: list[Sums | None] = [None] * dist.get_world_size()
    dist.all_gather_object(found, {path.name: _sum(path) for path in mine}, group=_writers())
    return {name: value for sums in found if sums is not None for name, value in sums.items()}


def check_complete(folder: Path, shapes: Mapping[str, torch.Size]) -> None:
    """See that what was written holds every element of every tensor that was to be, and no other tensor.

    Args:
        folder: of the shards.
        shapes: of the tensors, by path.

    Raises:
        RunError: names the first that is missing.
    """
    written = index(folder).state_dict_metadata
    for path, shape in shapes.items():
        entry = written.get(path)
        chunks = entry.chunks if isinstance(entry, TensorStorageMetadata) else []
        if sum(prod(chunk.sizes) for chunk in chunks) != prod(shape):
            raise RunError(f"the checkpoint in {folder} is incomplete: {path} is not all there; it doesn't count")
    if strangers := sorted(written.keys() - shapes.keys()):
        raise RunError(f"the checkpoint in {folder} holds {strangers[0]}, which it wasn't given; it doesn't count")


def read(folder: Path, sums: Sums, room: Room) -> dict[str, Tensor]:
    """The tensors, by path; each process reads what it has room for.

    Raises:
        CheckpointError: files are missing or damaged.
    """
    for name, expected in sums.items():
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} lacks {name}, a part of the checkpoint")
        if _sum(folder / name) != expected:
            raise CheckpointError(f"{folder / name} is damaged: its checksum doesn't fit")
    entries = index(folder).state_dict_metadata
    found = {path: room(entry.size, dtype=entry.properties.dtype) for path, entry in entries.items()}  # type: ignore[union-attr]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is (disabled|unavailable)")
        load_distributed(cast(dict[str, Any], found), storage_reader=_Reader(folder), no_dist=True)
    return found


def index(folder: Path) -> Metadata:
    """What a folder of shards holds; read without running code from it."""
    with (folder / ".metadata").open("rb") as file:
        found: Metadata = _Unpickler(file).load()
    return found


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name in SAFE.get(module, ()) or (module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a checkpoint")


class _Reader(FileSystemReader):
    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        found = index(Path(self.path))
        found.storage_meta = found.storage_meta or StorageMeta()
        found.storage_meta.load_id = self.load_id
        return found


@cache
def _writers() -> dist.ProcessGroup:
    """All processes, for messages from threads beside the training's own."""
    return cast(dist.ProcessGroup, dist.new_group(backend="gloo"))


@cache
def _quiet() -> None:
    """Have torch 2.9 say now, where nobody hears it, what it says once in a process of its own writing of shards."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TypedStorage is deprecated")
        torch.empty(0).storage()  # type: ignore[no-untyped-call]


def _sum(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 24):
            found = zlib.crc32(piece, found)
    return found


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:200]


WHOLE, IN_PARTS = 1, 2
"""Formats: all tensors are in the file; some are in a folder of shards beside it."""
SHARDED = ".shards"
"""Suffix of that folder, and in the file the key that stands for a tensor in it."""


def save(path: Path, payload: Mapping[str, Any]) -> None:
    """Write one file of tensors and plain values, atomically."""
    content = {"format": WHOLE, **payload}
    write_atomic(path, lambda file: _write(content, file))


def reference(folder: Path, sums: Sums) -> dict[str, Any]:
    """What a file's content says of the folder of shards that belongs to it."""
    return {"format": IN_PARTS, "shards": {"folder": folder.name, "sums": sums}}


def load(path: Path, room: Room = torch.empty) -> dict[str, Any]:
    """Read one file, and the shards that belong to it; onto the host, and without running code from them.

    Args:
        path: of the file.
        room: makes what tensors in shards are read into; by default they are read whole.

    Raises:
        CheckpointError: no such file, damaged, or of another format.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        _check_sums(path)
        payload: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(payload, dict) or payload.get("format") not in (WHOLE, IN_PARTS):
            raise CheckpointError(f"{path} isn't an mplframe checkpoint of format {WHOLE} or {IN_PARTS}")
        return payload if payload["format"] == WHOLE else _completed(path, payload, room)
    except CheckpointError:
        raise
    except Exception as error:
        # A damaged zip or pickle can raise almost anything.
        raise CheckpointError(
            f"{path} can't be read as a checkpoint ({type(error).__name__}: {_line(error)})"
        ) from error


def _completed(path: Path, payload: dict[str, Any], room: Room) -> dict[str, Any]:
    part = payload.pop("shards")
    tensors = read(path.with_name(part["folder"]), part["sums"], room)
    found: dict[str, Any] = _filled(payload, tensors)
    return found


def _filled(state: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """The state with its tensors in the places that stand for them."""
    if isinstance(state, dict):
        if state.keys() == {SHARDED}:
            return tensors[state[SHARDED]]
        for key, value in state.items():
            state[key] = _filled(value, tensors)
        return state
    return type(state)(_filled(value, tensors) for value in state) if isinstance(state, list | tuple) else state


def _write(content: dict[str, Any], file: BinaryIO) -> None:
    torch.save(content, file)


def _check_sums(path: Path) -> None:
    """`torch.load` leaves them unread: turned bits would be taken for weights."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"the checksum of {damaged} doesn't fit")


def _line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:200]
