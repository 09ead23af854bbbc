"""The files of a checkpoint: tensors as raw bytes and all else as JSON; whole or in shards, checked when they are read.

A checkpoint may be a stranger's, so that no unpickler stands behind `load`. A file is a zip archive as `torch.save`
makes it, with `state.json` beside: `load` reads that and the bytes of the tensors it names. The pickle is for others,
who open the file with `torch.load(path, weights_only=True)`.
"""

from __future__ import annotations

import json
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch
from pydantic import NonNegativeInt
from torch import Tensor

from mplframe.checkpoint.shards import DTYPES, Checked, Room, Shape, Shards, first_line, read
from mplframe.errors import CheckpointError
from mplframe.io.files import write_atomic

WHOLE, IN_PARTS = 1, 2
"""Formats: all tensors are in the file; some are in a folder of shards beside it."""
SHARDED = ".shards"
"""Suffix of that folder, and in the file the key that stands for a tensor in it."""
JSON = "archive/state.json"
"""In the folder of the archive that `torch.save` has made."""


class _Stored(Checked):
    """A tensor in the archive: `record` is the number of its bytes there."""

    record: NonNegativeInt
    dtype: str
    shape: Shape
    stride: Shape


class _Content(Checked):
    tensors: tuple[_Stored, ...]
    content: Any


def save(path: Path, payload: Mapping[str, Any]) -> None:
    """Write one file of tensors and plain values, atomically.

    Raises:
        TypeError: it holds something else.
    """
    content = _tight({"format": WHOLE, **payload}, {})
    write_atomic(path, lambda file: _write(content, file))


def reference(shards: Shards) -> dict[str, Any]:
    """What a file's content says of the folder of shards that belongs to it."""
    return {"format": IN_PARTS, "shards": shards.model_dump(mode="json")}


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
        with zipfile.ZipFile(path) as archive:
            payload = _read(path, archive)
        if payload["format"] == WHOLE:
            return payload
        shards = Shards.model_validate(payload.pop("shards"))
        found: dict[str, Any] = _filled(payload, read(path.parent, shards, room))
        return found
    except CheckpointError:
        raise
    except Exception as error:
        # A damaged archive can raise almost anything.
        raise CheckpointError(
            f"{path} can't be read as a checkpoint ({type(error).__name__}: {first_line(error)})"
        ) from error


def _tight(state: Any, seen: dict[int, Tensor]) -> Any:
    """The state on the host, with tensors that share no bytes and leave none out; one that is there twice still is."""
    if isinstance(state, Tensor):
        if id(state) not in seen:
            own = state.detach().cpu()
            taken = {each.data_ptr() for each in seen.values()}
            whole = own.untyped_storage().nbytes() == own.nbytes and own.data_ptr() not in taken
            seen[id(state)] = own if whole else own.clone()
        return seen[id(state)]
    if isinstance(state, dict):
        found: dict[Any, Any] = OrderedDict() if hasattr(state, "_metadata") else {}
        found.update((key, _tight(value, seen)) for key, value in state.items())
        if isinstance(found, OrderedDict):  # torch keeps versions of modules beside their states
            found._metadata = state._metadata  # type: ignore[attr-defined]
        return found
    if isinstance(state, list | tuple):
        found_all = [_tight(value, seen) for value in state]
        return tuple(found_all) if isinstance(state, tuple) else found_all
    return state


def _write(content: dict[str, Any], file: BinaryIO) -> None:
    tensors: dict[int, _Stored] = {}
    encoded = _encoded(content, tensors)
    text = json.dumps({"tensors": [each.model_dump() for each in tensors.values()], "content": encoded})
    torch.save(content, file)
    with zipfile.ZipFile(file, "a") as archive:
        for stored in tensors.values():
            # torch numbers the bytes of tensors in the order in which it meets them, as is done here.
            assert _record(archive, stored.record).file_size == prod(stored.shape) * DTYPES[stored.dtype].itemsize
        archive.writestr(JSON, text)


def _encoded(value: Any, tensors: dict[int, _Stored]) -> Any:
    """The JSON of a value; a mapping of one kind stands for what JSON hasn't."""
    if isinstance(value, Tensor):
        if id(value) not in tensors:
            name = str(value.dtype).removeprefix("torch.")
            tensors[id(value)] = _Stored(
                record=len(tensors), dtype=name, shape=tuple(value.shape), stride=tuple(value.stride())
            )
        return {"tensor": tensors[id(value)].record}
    if isinstance(value, dict):
        items = [[_encoded(key, tensors), _encoded(each, tensors)] for key, each in value.items()]
        versions = getattr(value, "_metadata", None)
        return {"dict": items} if versions is None else {"dict": items, "versions": _encoded(dict(versions), tensors)}
    if isinstance(value, tuple):
        return {"tuple": [_encoded(each, tensors) for each in value]}
    if isinstance(value, list):
        return [_encoded(each, tensors) for each in value]
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint holds tensors and plain values, not a {type(value).__name__}")


def _read(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    payload = None
    if JSON in archive.namelist():
        found = _Content.model_validate(json.loads(archive.read(_uncompressed(archive, JSON))))
        payload = _decoded(found.content, [_tensor(archive, each) for each in found.tensors])
    if not isinstance(payload, dict) or payload.get("format") not in (WHOLE, IN_PARTS):
        raise CheckpointError(f"{path} isn't an mplframe checkpoint of format {WHOLE} or {IN_PARTS}")
    return payload


def _decoded(value: Any, tensors: Sequence[Tensor]) -> Any:
    if isinstance(value, list):
        return [_decoded(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"dict": [*items], **rest} if rest.keys() <= {"versions"}:
            found = OrderedDict((_decoded(key, tensors), _decoded(each, tensors)) for key, each in items)
            if "versions" in rest:
                found._metadata = _decoded(rest["versions"], tensors)  # type: ignore[attr-defined]
            return found if rest else dict(found)
        case {"tuple": [*items], **rest} if not rest:
            return tuple(_decoded(each, tensors) for each in items)
        case {"tensor": int(number), **rest} if not rest and 0 <= number < len(tensors):
            return tensors[number]
        case {"dtype": str(name), **rest} if not rest and name in DTYPES:
            return DTYPES[name]
    raise ValueError(f"{sorted(value)[:3]} has no place in a checkpoint")


def _tensor(archive: zipfile.ZipFile, stored: _Stored) -> Tensor:
    dtype, size = DTYPES[stored.dtype], prod(stored.shape) * DTYPES[stored.dtype].itemsize
    info = _record(archive, stored.record)
    if info.file_size != size or len(stored.shape) != len(stored.stride):
        raise ValueError(f"{info.filename} has {info.file_size} bytes, and {size} are asked for")
    data = bytearray(size)
    with archive.open(info) as file:
        view, at = memoryview(data), 0
        while at < size and (read := file.readinto(view[at:])):  # type: ignore[attr-defined]
            at += read
        # What is read to its end is compared with its checksum.
        if at < size or file.read(1):
            raise ValueError(f"{info.filename} is torn")
    flat = torch.frombuffer(data, dtype=dtype) if size else torch.empty(0, dtype=dtype)
    return flat.as_strided(stored.shape, stored.stride)


def _record(archive: zipfile.ZipFile, number: int) -> zipfile.ZipInfo:
    return _uncompressed(archive, f"archive/data/{number}")


def _uncompressed(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """So that it takes no more memory than it is long."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise ValueError(f"{name} is compressed")
    return info


def _filled(state: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The state with its tensors in the places that stand for them."""
    if isinstance(state, dict):
        if state.keys() == {SHARDED}:
            return tensors[state[SHARDED]]
        for key, value in state.items():
            state[key] = _filled(value, tensors)
        return state
    return type(state)(_filled(value, tensors) for value in state) if isinstance(state, list | tuple) else state
