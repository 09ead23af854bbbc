"""What `mplframe plan` says of a step's peak memory against what a real step takes on the CPU.

    python benchmarks/plan_memory.py --json benchmarks/results/plan_memory.json

Each case is planned by its rehearsal on the meta device, then built and stepped twice for real. Measured is the most
bytes of tensors at once in the second step, the batch included, as torch's profiler sees them allocated and freed; a
convolution's own workspace isn't a tensor and isn't in it.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

import mplframe
from mplframe.api import components
from mplframe.builders import Context, Maker, image_spec
from mplframe.config.run import RunConfig
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.batch import Batch
from mplframe.contracts.method import StagePlan
from mplframe.testing.problem import random_batch

NETWORKS: dict[str, tuple[dict[str, Any], int, int, int]] = {
    "small_cnn": ({"name": "small_cnn"}, 16, 32, 64),
    "wide_resnet-28-2": ({"name": "wide_resnet", "depth": 28, "width": 2}, 32, 8, 16),
    "resnet50": ({"name": "timm", "model": "resnet50"}, 96, 4, 8),
}
"""Settings, size of the images, labeled and unlabeled samples of a step."""
METHODS = ("supervised", "uda", "mpl dot", "mpl cosine", "mpl exact", "mpl cosine accumulate=2")


def config_of(network: str, method: str, precision: str) -> RunConfig:
    """A run of one stage."""
    settings, size, labeled, unlabeled = NETWORKS[network]
    learner = {"network": settings, "optimizer": {"name": "sgd", "lr": 0.01}, "ema": 0.99}
    kind, *rest = method.split()
    own: dict[str, Any] = {"name": kind, "steps": 2, "student": learner}
    if kind == "supervised":
        own["batch"] = labeled
    else:
        own["batch"] = {"labeled": labeled, "unlabeled": unlabeled, "accumulate": len(rest) or 1}
    if kind == "mpl":
        own |= {"teacher": learner, "feedback": rest[0]}
    return mplframe.from_dict(
        {
            "method": own,
            "data": {"name": "digits"},
            "input": {"size": size, "channels": 3},
            "backend": {"name": "single", "device": "cpu", "precision": precision},
        }
    )


def planned(config: RunConfig) -> int:
    """Bytes at the peak of a step, by rehearsal."""
    (stage,) = mplframe.plan(config).stages
    assert not stage.estimated, stage.estimated
    return stage.peak_bytes


def measured(config: RunConfig) -> int:
    """Bytes of tensors at the peak of a real step."""
    make = Maker(components())
    spec = image_spec(config, make("dataset", config.data).classes)
    (stage,) = make("method", config.method).stages(make)
    context = Context(make("backend", config.backend), spec, 0, "measured", make, config.input.normalisation, None)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        live = stage.build(context)
        for step in range(2):
            with record_function(f"step {step}"):
                live.step(batches(stage, spec, step), step)
    return peak(profiled, "step 1")


def batches(stage: StagePlan, spec: ImageSpec, step: int) -> list[Batch]:
    streams = stage.streams
    batch = random_batch(spec, labeled=streams.labeled, unlabeled=streams.unlabeled, views=streams.views, seed=step)
    return batch.split(streams.accumulate)


def peak(profiled: profile, block: str) -> int:
    """The most bytes at once within a block, of all that were allocated since the profile began."""
    assert profiled.profiler is not None
    assert profiled.profiler.kineto_results is not None
    events = profiled.profiler.kineto_results.events()
    (whole,) = [event for event in events if event.name() == block]
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    live = most = 0
    for moment, change in changes:
        live += change
        if whole.start_ns() <= moment <= whole.end_ns():
            most = max(most, live)
    return most


def rows(networks: list[str]) -> Iterator[dict[str, Any]]:
    for network in networks:
        for precision in ("fp32", "bf16"):
            for method in METHODS:
                config = config_of(network, method, precision)
                by_plan, really = planned(config), measured(config)
                yield {
                    "network": network, "method": method, "precision": precision, "planned": by_plan,
                    "measured": really, "ratio": by_plan / really,
                }  # fmt: skip


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| network | method | precision | planned, MiB | measured, MiB | planned / measured |",
        "|---|---|---|---:|---:|---:|",
    ]
    for row in results:
        sizes = " | ".join(f"{row[key] / 2**20:.1f}" for key in ("planned", "measured"))
        lines.append(f"| {row['network']} | {row['method']} | {row['precision']} | {sizes} | {row['ratio']:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for row in rows(arguments.networks):
        results.append(row)
        print(f"{row['network']} {row['method']} {row['precision']}: {row['ratio']:.3f}", flush=True)
    print(table(results))
    if arguments.json:
        found = {"torch": torch.__version__, "machine": platform.machine(), "results": results}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
