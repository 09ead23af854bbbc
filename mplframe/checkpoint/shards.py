"""Tensors of which processes hold shards: written by all of them into one folder, as safetensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Annotated, Any, TypeAlias, cast

import torch
import torch.distributed as dist
from pydantic import BaseModel, ConfigDict, NonNegativeInt, StringConstraints
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from mplframe.errors import CheckpointError, RunError
from mplframe.io.files import Digest, digest, sync

Room = Callable[..., Tensor]
"""From a shape and `dtype=` to an empty tensor to read into: whole, or the shard that this process is to hold."""
DTYPES = {str(each).removeprefix("torch."): each for each in vars(torch).values() if isinstance(each, torch.dtype)}
"""By the names that files have for them."""
Shape: TypeAlias = tuple[NonNegativeInt, ...]


class Checked(BaseModel):
    """What a file says, taken only where nothing is missing, odd or unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


FileName = Annotated[str, StringConstraints(pattern=r"^part-\d{5}\.safetensors$")]


class Chunk(Checked):
    """A part of a tensor: where it begins, its shape, and the file of shards that holds it."""

    file: FileName
    offset: Shape
    shape: Shape


class Cut(Checked):
    """A tensor in shards."""

    dtype: str
    shape: Shape
    chunks: tuple[Chunk, ...]


class Shards(Checked):
    """What is in a folder of shards: its name, the digest of each file, and the tensors by path."""

    folder: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*\.shards$")]
    files: dict[FileName, Digest]
    tensors: dict[str, Cut]


@dataclass(frozen=True)
class Held:
    """What this process holds of a tensor, on the host."""

    path: str
    whole: tuple[int, ...]
    offset: tuple[int, ...]
    tensor: Tensor

    @property
    def place(self) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
        """Which part of which tensor it is."""
        return self.path, self.offset, tuple(self.tensor.shape)


def begin(shards: Mapping[str, DTensor]) -> list[Held]:
    """Copy this process's shards to the host; all processes call it."""
    _writers()  # made by all in one order, before threads need it
    return [
        Held(path, tuple(tensor.shape), offset, tensor.to_local().detach().to("cpu", copy=True).contiguous())
        for path, tensor in shards.items()
        for offset in _offset(tensor)
    ]


def finish(folder: Path, held: Sequence[Held], shapes: Mapping[str, torch.Size]) -> Shards:
    """Write what `begin` has copied, and see that nothing is missing from the folder; all processes call it.

    Raises:
        RunError: in every process, that it couldn't be written in one, or that tensors or parts of them aren't there.
    """
    try:
        places = _gathered([each.place for each in held])
        first = {place: rank for rank, some in reversed(list(enumerate(places))) for place in some}
        mine = [each for each in held if first[each.place] == dist.get_rank()]
        parts: list[_Part | str] = _gathered(_written(folder, mine))
    except Exception as error:
        # A lost process arrives as gloo's own kind of error.
        raise RunError(f"can't write the shards in {folder}: {first_line(error)}") from error
    written = [part for part in parts if isinstance(part, _Part)]
    if len(written) < len(parts):
        failed = next(part for part in parts if isinstance(part, str))
        raise RunError(f"can't write the shards in {folder}: {failed}")
    cuts: dict[str, Cut] = {}
    for part in written:
        for path, cut in part.cuts:
            before = cuts[path].chunks if path in cuts else ()
            cuts[path] = cut.model_copy(update={"chunks": before + cut.chunks})
    found = Shards(folder=folder.name, files={p.file: p.digest for p in written}, tensors=cuts)
    check_complete(folder, found, shapes)
    return found


@dataclass(frozen=True)
class _Part:
    file: str
    digest: Digest
    cuts: list[tuple[str, Cut]]


def _written(folder: Path, held: Sequence[Held]) -> _Part | str:
    """The file that this process has written, or why it couldn't."""
    name = f"part-{dist.get_rank():05d}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({_key(each.path, each.offset): each.tensor for each in held}, folder / name)
        sync(folder / name)
        sync(folder)
        cuts = []
        for each in held:
            chunk = Chunk(file=name, offset=each.offset, shape=tuple(each.tensor.shape))
            dtype = str(each.tensor.dtype).removeprefix("torch.")
            cuts.append((each.path, Cut(dtype=dtype, shape=each.whole, chunks=(chunk,))))
        return _Part(name, digest(folder / name), cuts)
    except Exception as error:  # said in every process
        return first_line(error)


def check_complete(folder: Path, shards: Shards, shapes: Mapping[str, torch.Size]) -> None:
    """See that what was written holds every element of every tensor that was to be, and no other tensor.

    Args:
        folder: of the shards.
        shards: what is in it.
        shapes: of the tensors, by path.

    Raises:
        RunError: names the first that is missing.
    """
    for path, shape in shapes.items():
        cut = shards.tensors.get(path)
        if cut is None or cut.shape != tuple(shape) or not _covers(cut):
            raise RunError(f"the checkpoint in {folder} is incomplete: {path} is not all there; it doesn't count")
    if strangers := sorted(shards.tensors.keys() - shapes.keys()):
        raise RunError(f"the checkpoint in {folder} holds {strangers[0]}, which it wasn't given; it doesn't count")


def read(beside: Path, shards: Shards, room: Room) -> dict[str, Tensor]:
    """The tensors, by path; each process reads what it has room for.

    Args:
        beside: the folder that the folder of shards is in.
        shards: what is in that.
        room: see `Room`.

    Raises:
        CheckpointError: files are missing or damaged, or don't hold what they are said to.
    """
    folder = beside / shards.folder
    for name, expected in shards.files.items():
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} lacks {name}, a part of the checkpoint")
        if digest(folder / name) != expected:
            raise CheckpointError(f"{folder / name} is damaged: its checksum doesn't fit")
    # What a tensor takes in memory is in the files, or nothing is made room for.
    for path, cut in shards.tensors.items():
        if not _covers(cut) or any(chunk.file not in shards.files for chunk in cut.chunks):
            raise CheckpointError(f"{folder} isn't whole: {path} is not all there")
        for chunk in cut.chunks:
            with safe_open(folder / chunk.file, "pt") as file:
                kept = file.get_slice(_key(path, chunk.offset))
                if tuple(kept.get_shape()) != chunk.shape:
                    raise CheckpointError(f"{folder / chunk.file} is damaged: {path} has another shape")
    found = {}
    for path, cut in shards.tensors.items():
        found[path] = room(cut.shape, dtype=DTYPES[cut.dtype])
        _fill(found[path], folder, path, cut)
    return found


def _fill(target: Tensor, folder: Path, path: str, cut: Cut) -> None:
    local = target.to_local() if isinstance(target, DTensor) else target
    for offset in _offset(target):
        for chunk in cut.chunks:
            low = [max(a, b) for a, b in zip(offset, chunk.offset, strict=True)]
            ends = zip(offset, local.shape, chunk.offset, chunk.shape, strict=True)
            high = [min(a + n, b + m) for a, n, b, m in ends]
            if any(begin >= end for begin, end in zip(low, high, strict=True)):
                continue
            with safe_open(folder / chunk.file, "pt") as file:
                kept = file.get_tensor(_key(path, chunk.offset))
            there, here = (
                tuple(slice(a - o, b - o) for a, b, o in zip(low, high, origin, strict=True))
                for origin in (chunk.offset, offset)
            )
            if kept.dtype != local.dtype:
                raise CheckpointError(f"{folder / chunk.file} is damaged: {path} is of {kept.dtype}")
            local[here].copy_(kept[there])


def _offset(tensor: Tensor) -> Iterator[tuple[int, ...]]:
    """Where what this process holds of a tensor begins; nothing where it holds none of it."""
    if not isinstance(tensor, DTensor):
        yield (0,) * tensor.ndim
    elif tensor.to_local().numel():
        (chunk,) = tensor.__create_chunk_list__()  # type: ignore[no-untyped-call]
        yield tuple(chunk.offsets)


def _covers(cut: Cut) -> bool:
    """Whether the chunks of a tensor lie in it, don't overlap, and are all of it."""
    boxes = [(chunk.offset, chunk.shape) for chunk in cut.chunks]
    if any(len(box) != len(cut.shape) for pair in boxes for box in pair):
        return False
    inside = all(o + n <= m for offset, shape in boxes for o, n, m in zip(offset, shape, cut.shape, strict=True))
    apart = not any(
        all(a < b + m and b < a + n for a, n, b, m in zip(*one, *other, strict=True))
        for i, one in enumerate(boxes)
        for other in boxes[:i]
    )
    return inside and apart and sum(prod(shape) for _, shape in boxes) == prod(cut.shape)


def _key(path: str, offset: Sequence[int]) -> str:
    return f"{path}@{','.join(map(str, offset))}"


def _gathered(value: Any) -> list[Any]:
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value, group=_writers())
    return found


@cache
def _writers() -> dist.ProcessGroup:
    """All processes, for messages from threads beside the training's own."""
    return cast(dist.ProcessGroup, dist.new_group(backend="gloo"))


def first_line(error: Exception) -> str:
    """What an error says, in short."""
    return str(error).strip().split("\n", 1)[0][:200]
