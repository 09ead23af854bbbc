"""The XLA runtime: its devices, its mesh, the processes of several hosts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
import torch.distributed as dist

from mplframe.backends.xla.rules import DATA, MODEL
from mplframe.errors import UserError

SERIES = "2.9"
"""Of torch and torch_xla: torch_xla 2.9.0 is the last release, and it is built against torch 2.9."""
INSTALL = "pip install torch==2.9.0 torchvision==0.24.0 torch_xla==2.9.0, in an environment of its own"


def unavailable() -> str | None:
    """Why torch_xla can't be used here and what to install; None where it can. Imports nothing of it."""
    try:
        found = version("torch_xla")
    except PackageNotFoundError:
        return f"torch_xla isn't installed: {INSTALL}"
    if not all(each.startswith(f"{SERIES}.") for each in (found, torch.__version__)):
        return f"torch_xla {found} with torch {torch.__version__}, but both have to be {SERIES}: {INSTALL}"
    return None


@dataclass(frozen=True)
class Runtime:
    """Devices as one.

    Attributes:
        device: the virtual device of tensors that lie on all of them.
        mesh: `torch_xla.distributed.spmd.Mesh`, replicas x devices of a replica.
        kind: of the devices, such as `CPU` or `TPU`.
        rank: of this host's process, from 0.
        processes: one a host.
    """

    device: torch.device
    mesh: Any
    kind: str
    rank: int
    processes: int


def start(*, data: int | None, model: int) -> Runtime:
    """Bring torch_xla up in SPMD mode; it stays so for the life of the process.

    Args:
        data: replicas; as many as there is room for by default.
        model: devices of a replica.

    Raises:
        UserError: torch_xla isn't there or of another version, or the mesh doesn't take all devices.
    """
    if (reason := unavailable()) is not None:
        raise UserError(f"backend.name=xla_spmd: {reason}; or use another backend (--set backend=single)")
    # Else 0 and 1 would be constants of the graph, and a number that gets there another graph.
    os.environ["XLA_NO_SPECIAL_SCALARS"] = "1"
    import torch_xla
    import torch_xla.runtime as xla
    from torch_xla.distributed import spmd

    try:
        if not xla.is_spmd():
            xla.use_spmd()
        devices = xla.global_runtime_device_count()
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"backend.name=xla_spmd: torch_xla finds no devices ({str(error).strip().splitlines()[0][:160]}); set "
            "PJRT_DEVICE in the environment to TPU or CPU, as there are"
        ) from error
    kind = xla.device_type()
    shape = mesh_shape(devices, data=data, model=model, kind=kind)
    mesh = spmd.Mesh(list(range(devices)), shape, (DATA, MODEL))
    return Runtime(torch_xla.device(), mesh, kind, xla.process_index(), xla.process_count())


def mesh_shape(devices: int, *, data: int | None, model: int, kind: str) -> tuple[int, int]:
    """Replicas and devices of each.

    Raises:
        UserError: they don't take all devices.
    """
    replicas = devices // model if data is None else data
    if replicas * model != devices:
        asked = f"backend.model = {model}" if data is None else f"backend.data = {data} x backend.model = {model}"
        needed = model if data is None else data * model
        virtual = f", or CPU_NUM_DEVICES={needed} in the environment for virtual ones" if kind == "CPU" else ""
        raise UserError(
            f"{asked} doesn't fit {devices} {kind} device(s): the mesh has to take all of them; set backend.model to "
            f"a divisor of {devices} and leave backend.data to mplframe{virtual}"
        )
    return replicas, model


def joined() -> Callable[[Any], list[Any]]:
    """Meet the other hosts' processes by torch_xla's own rendezvous; what collects a value of each of them."""
    import torch_xla.distributed.xla_backend  # noqa: F401 (brings "xla://")

    if not dist.is_initialized():
        dist.init_process_group("gloo", init_method="xla://")

    def gather(value: Any) -> list[Any]:
        found: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(found, value)
        return found

    return gather
