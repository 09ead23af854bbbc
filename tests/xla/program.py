"""What is done on one mesh in a process of its own, which `test_meshes.py` looks at; a failed assertion ends it.

The devices of torch_xla are as many as CPU_NUM_DEVICES says, for the life of a process, and a mesh takes all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch_xla.debug.metrics as counters
from torch import Tensor

from mplframe.backends.xla.backend import XlaSpmd
from mplframe.builders import build_run
from mplframe.plugins import discover
from mplframe.testing import check_backend
from tests.xla import runs

STEPS = 5


def counted() -> dict[str, int]:
    """Compilations, transfers to the host, and operations that torch_xla leaves to the host, so far."""
    transfers = counters.metric_data("TransferFromDeviceTime")
    on_host = sum(counters.counter_value(name) for name in counters.counter_names() if name.startswith("aten::"))
    return {
        "compiled": counters.counter_value("UncachedCompile") or 0,
        "fetched": transfers[0] if transfers else 0,
        "on the host": on_host,
    }


def spent(work: Callable[[], object]) -> dict[str, int]:
    before = counted()
    work()
    return {name: count - before[name] for name, count in counted().items()}


def one_graph(data: int, model: int) -> None:
    """A step of MPL is compiled once and asks the device for nothing, whatever the learning rate does."""
    run = build_run(runs.config("mpl", name="xla_spmd", data=data, model=model), discover())
    stage = run.training[0]
    live = stage.plan.build(stage.context)
    backend, metrics = run.backend, []

    def step(number: int, parts: list) -> None:
        metrics.append(live.step(parts, number))
        backend.mark_step()

    for number, batch in zip(range(STEPS), run.streams.batches(stage, 0), strict=False):
        parts = [backend.place(part) for part in batch.split(stage.plan.streams.accumulate)]
        expected = {"compiled": 1 if number == 0 else 0, "fetched": 0, "on the host": 0}
        found = spent(lambda: step(number, parts))  # noqa: B023
        assert found == expected, f"step {number}: {found}"
    scalars = [value for values in metrics for value in values.values()]
    assert all(isinstance(scalar, Tensor) for scalar in scalars)
    fetching = spent(lambda: backend.fetch(scalars))
    assert fetching["compiled"] == 0
    assert fetching["fetched"] == 1, fetching


def main(data: int, model: int, out: Path, one: Path, *parts: str) -> None:
    backend = {"name": "xla_spmd", "data": data, "model": model}
    if "graph" in parts:
        one_graph(data, model)
    if "suite" in parts:
        check_backend(lambda: XlaSpmd(XlaSpmd.Config(data=data, model=model)))
    for name in parts:
        if name in runs.RUNS:
            runs.run(name, out / name, **backend)
    if "moved" in parts:
        runs.run("mpl", out / "moved", resume=one, **backend)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), *sys.argv[5:])
