"""The processes of a run: who this one is, and messages between them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby

import torch
import torch.distributed as dist
from torch import Tensor

from mplframe.contracts.batch import Tensors
from mplframe.errors import RunError, UserError

LOST = re.compile(r"connection|peer|broken pipe|timed? ?out", re.IGNORECASE)
"""Words of gloo's errors where the other end is gone; they have no type of their own."""
NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def launched() -> bool:
    """Whether torchrun started this process."""
    return all(name in os.environ for name in NEEDED)


def check_alone() -> None:
    """See that this process has no others beside it, which would all do the same.

    Raises:
        UserError: torchrun started several.
    """
    if launched() and (world := int(os.environ["WORLD_SIZE"])) > 1:
        raise UserError(
            f"backend.name=single is one process, but torchrun started {world}: share the work among them with "
            "--set backend=ddp (or fsdp), or run the command without torchrun"
        )


def local_rank(backend: str) -> int:
    """The number of this process on its machine, as torchrun gave it.

    Args:
        backend: which backend asks.

    Raises:
        UserError: torchrun didn't start this process.
    """
    if missing := [name for name in NEEDED if name not in os.environ]:
        raise UserError(
            f"backend.name={backend} needs processes that torchrun started ({', '.join(missing)} not set): run "
            "`torchrun --nproc-per-node N -m mplframe run CONFIG ...`, or use one process (--set backend=single)"
        )
    return int(os.environ["LOCAL_RANK"])


@contextmanager
def together() -> Iterator[None]:
    """A block of collectives.

    Raises:
        RunError: another process has ended, or doesn't answer.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and not LOST.search(str(error)):
            raise
        who = f"process {os.environ.get('RANK', '?')} of {os.environ.get('WORLD_SIZE', '?')}"
        raise RunError(
            f"{who} has lost the others: one has ended, and its own error says why, or didn't answer within "
            f"backend.timeout. The same command resumes from the last checkpoint ({str(error).splitlines()[0][:160]})"
        ) from error


@torch.no_grad()
def mean_of_all(tensors: Tensors, *, bucket_bytes: int) -> Tensors:
    """The mean of each tensor over all processes, bit for bit the same in each of them.

    Args:
        tensors: of the same shapes and dtypes everywhere.
        bucket_bytes: how much may travel in one message; a tensor isn't cut.
    """
    filled = buckets(tensors, bucket_bytes)
    flat = [torch.cat([tensor.reshape(-1) for tensor in bucket]) for bucket in filled]
    with together():
        for work in [dist.all_reduce(each, async_op=True) for each in flat]:
            work.wait()
    means: list[Tensor] = []
    for bucket, total in zip(filled, flat, strict=True):
        total /= dist.get_world_size()
        parts = torch.split(total, [tensor.numel() for tensor in bucket])
        means += [part.view(tensor.shape) for part, tensor in zip(parts, bucket, strict=True)]
    return tuple(means)


def buckets(tensors: Sequence[Tensor], most: int) -> list[list[Tensor]]:
    """Runs of tensors of one dtype, of `most` bytes or of one tensor."""
    found: list[list[Tensor]] = []
    for _, alike in groupby(tensors, key=lambda tensor: tensor.dtype):
        room = -1
        for tensor in alike:
            if tensor.nbytes > room:
                found.append([])
                room = most
            found[-1].append(tensor)
            room -= tensor.nbytes
    return found
