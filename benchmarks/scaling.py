"""What several processes cost: throughput and bytes sent, for `ddp` and `fsdp`, against one process.

    python benchmarks/scaling.py --json benchmarks/results/scaling.json

The same global batch is shared by 1, 2 and 4 processes on one machine, each with one thread, so that a machine of C
cores can be C times as fast at best. Bytes are what one process sends in a step if messages go round a ring:
2 (P - 1) / P times an all-reduced tensor, (P - 1) / P times a gathered or scattered one, in units of the weights of one
network. They don't depend on the machine; throughput over gloo on one machine says little of NCCL on many.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mplframe.backends.ddp import DataParallel
from mplframe.backends.fsdp import FullyShardedDataParallel
from mplframe.backends.single import Single
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.backend import Backend
from mplframe.feedback.dot import Dot
from mplframe.losses.supervised import Supervised
from mplframe.losses.uda import UDA
from mplframe.methods.mpl import MPLStage
from mplframe.models.wide_resnet import WideResNet
from mplframe.randomness import seeded
from mplframe.testing.problem import random_batch
from mplframe.training.learner import Learner
from mplframe.training.network import Network
from mplframe.training.student import NetworkStudent
from mplframe.training.teacher import NetworkTeacher

SPEC = ImageSpec(size=32, channels=3, classes=10)
LABELED, UNLABELED = 16, 48
WARM, TIMED = 2, 6
CASES = [("single", 1), ("ddp", 2), ("ddp", 4), ("fsdp", 2), ("fsdp", 4)]
BACKENDS: dict[str, Any] = {"single": Single, "ddp": DataParallel, "fsdp": FullyShardedDataParallel}
ALL_REDUCE, GATHERED, SCATTERED = ("allreduce",), ("allgather", "all_gather"), ("reduce_scatter",)


class Sent(TorchDispatchMode):
    """Counts the collectives of the block, and the bytes that this process sends in them."""

    def __init__(self, world: int) -> None:
        super().__init__()
        self.bytes = 0.0
        self.messages = 0
        self._share = (world - 1) / world

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(function)
        if name.startswith("c10d."):
            sizes = [sum(t.nbytes for t in tree_leaves(arg) if isinstance(t, Tensor)) for arg in args[:2]]
            self.messages += 1
            if any(kind in name for kind in ALL_REDUCE):
                self.bytes += 2 * self._share * sizes[0]
            elif any(kind in name for kind in (*GATHERED, *SCATTERED)):
                # Of the whole tensor and one process's part of it, in the one order or the other.
                self.bytes += self._share * max(sizes)
        return function(*args, **(kwargs or {}))


def stage(backend: Backend) -> MPLStage:
    """Teacher and student of 0.7 M weights each."""

    def learner(role: str) -> Learner:
        with seeded("init", role):
            network = Network(WideResNet(WideResNet.Config(depth=16, width=2)).build(SPEC), (0.5,) * 3, (0.5,) * 3)
        module = backend.prepare(network)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
        return Learner(module, optimizer, backend=backend)

    teacher = NetworkTeacher(learner("teacher"), (Supervised(), UDA()))
    return MPLStage(teacher, NetworkStudent(learner("student")), Dot())


def measured(name: str) -> dict[str, float]:
    """Seconds of a step, the median of several; and what is sent in one, in weights of a network."""
    cls = BACKENDS[name]
    settings = {"unit_parameters": 10_000} if name == "fsdp" else {}
    backend: Backend = cls(cls.Config(device="cpu", threads=1, **settings))
    trained = stage(backend)
    batches = [
        [
            backend.place(
                random_batch(SPEC, labeled=LABELED, unlabeled=UNLABELED, seed=i).split(backend.world)[backend.rank]
            )
        ]
        for i in range(2)
    ]
    seconds = []
    for step in range(WARM + TIMED):
        backend.barrier()
        start = time.perf_counter()
        trained.step(batches[step % 2], step)
        backend.barrier()
        seconds.append(time.perf_counter() - start)
    with Sent(backend.world) as sent:
        trained.step(batches[0], WARM + TIMED)
    student = trained.networks("raw")["student"]
    weights = sum(parameter.numel() * parameter.element_size() for parameter in student.parameters())
    held = sum(t.nbytes for t in map(_local, student.parameters()))
    return {
        "seconds": statistics.median(seconds[WARM:]),
        "sent": sent.bytes / weights,
        "messages": sent.messages,
        "held": held / weights,
    }


def _local(tensor: Tensor) -> Tensor:
    found: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return found


def launched(name: str, processes: int) -> dict[str, float]:
    """The measurement of one case, by processes of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        alone = [sys.executable]
        many = [*alone, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
        start = alone if name == "single" else [*many, "--nproc-per-node", str(processes)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run([*start, __file__, "--case", name, "--json", str(out)], check=True, env=environment)
        found: dict[str, float] = json.loads(out.read_text())
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--case", choices=BACKENDS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case is not None:
        found = measured(given.case)
        if os.environ.get("RANK", "0") == "0":
            given.json.write_text(json.dumps(found))
        return
    rows = [{"backend": name, "processes": count, **launched(name, count)} for name, count in CASES]
    for row in rows:
        row["speed"] = rows[0]["seconds"] / row["seconds"]
    result = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__},
        "batch": {"labeled": LABELED, "unlabeled": UNLABELED, "size": SPEC.size},
        "rows": rows,
    }
    given.json.write_text(json.dumps(result, indent=2) + "\n")
    print("| backend | processes | speed | sent a step / weights | messages a step | weights held |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        shown = f"{row['speed']:.2f} | {row['sent']:.2f} | {row['messages']} | {row['held']:.2f}"
        print(f"| {row['backend']} | {row['processes']} | {shown} |")


if __name__ == "__main__":
    main()
