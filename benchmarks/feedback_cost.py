"""What each feedback estimator costs: time and memory of a step against `off` and against double back-propagation.

    python benchmarks/feedback_cost.py --json benchmarks/results/feedback_cost.json

The variants take turns, step by step in one process, so that whatever else the machine does meets all of them; times
are medians of the ratios within a round. Peak memory is what a process of its own for each variant has resident at the
peak of its second step. `labeled` is `off` and the gradient of the labeled loss, which every estimator but `taylor`
needs; `double` is MPL v1's way: the labeled loss, differentiated through the student's step.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.batch import Batch, Samples
from mplframe.feedback.baseline import Baseline
from mplframe.feedback.cosine import Cosine
from mplframe.feedback.dot import Dot
from mplframe.feedback.exact import Exact
from mplframe.feedback.off import Off
from mplframe.feedback.per_example import PerExample
from mplframe.feedback.taylor import Taylor
from mplframe.losses.supervised import Supervised
from mplframe.losses.uda import UDA
from mplframe.methods.mpl import MPLStage
from mplframe.models.wide_resnet import WideResNet
from mplframe.training.labeling import Labeling
from mplframe.training.learner import Learner
from mplframe.training.student import NetworkStudent
from mplframe.training.teacher import NetworkTeacher

Step = Callable[[int], None]
ESTIMATORS: dict[str, Callable[[], Any]] = {
    "off": Off,
    "labeled": Off,
    "dot": Dot,
    "cosine": Cosine,
    "baseline(cosine)": lambda: Baseline(inner=Cosine()),
    "taylor": Taylor,
    "per_example": PerExample,
    "exact": Exact,
    "exact by differences": lambda: Exact(Exact.Config(derivative="differences")),
}
VARIANTS = (*ESTIMATORS, "double")
MODELS = {"wide_resnet-28-2": (32, 10, 16, 32), "resnet50": (64, 100, 8, 8)}
"""Size of the images, classes, labeled and unlabeled samples of a step."""


def network(model: str, seed: int) -> nn.Module:
    size, classes, _, _ = MODELS[model]
    torch.manual_seed(seed)
    if model == "resnet50":
        made: nn.Module = timm.create_model("resnet50", num_classes=classes)
        return made
    return WideResNet(WideResNet.Config(depth=28, width=2)).build(ImageSpec(size=size, channels=3, classes=classes))


def batch(model: str, seed: int) -> Batch:
    size, classes, labeled, unlabeled = MODELS[model]
    random = torch.Generator().manual_seed(seed)
    images = [torch.randn((n, 3, size, size), generator=random) for n in (labeled, unlabeled, unlabeled)]
    return Batch(
        Samples(images[0], None, torch.randint(classes, (labeled,), generator=random)), Samples(images[1], images[2])
    )


def learner(module: nn.Module) -> Learner:
    return Learner(module, torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, nesterov=True))


def step_of(model: str, variant: str) -> Step:
    """One training step of a variant."""
    soft = Labeling("soft" if variant == "double" else "sampled")
    teacher = NetworkTeacher(learner(network(model, 1)), [Supervised(), UDA()], labeling=soft)
    student = NetworkStudent(learner(network(model, 2)), labeling=soft)
    if variant == "double":
        return lambda number: double(teacher, student, batch(model, number), number)
    stage = MPLStage(teacher, student, ESTIMATORS[variant]())

    def step(number: int) -> None:
        given = [batch(model, number)]
        if variant == "labeled":
            student.labeled_gradient(given, number)
        stage.step(given, number)

    return step


def double(teacher: NetworkTeacher, student: NetworkStudent, given: Batch, number: int) -> None:
    """Back-propagation through the student's step (plain gradient descent, which is the cheapest to go through)."""
    assert given.unlabeled is not None
    assert given.labeled.labels is not None
    (labels,) = teacher.label([given], number)
    q = (labels.forward.logits["strong"]).softmax(-1)
    names, theta = zip(*student.module.named_parameters(), strict=True)
    logp = student.module(given.unlabeled.strong).log_softmax(-1)
    g = torch.autograd.grad(-(q * logp).sum(-1).mean(), theta, create_graph=True)
    after = {name: p.detach() - 0.01 * slope for name, p, slope in zip(names, theta, g, strict=True)}
    loss = F.cross_entropy(functional_call(student.module, after, (given.labeled.weak,)), given.labeled.labels)
    loss.backward(inputs=list(teacher.module.parameters()), retain_graph=True)  # type: ignore[no-untyped-call]
    student.learner.apply(tuple(slope.detach() for slope in g))
    teacher.learn([given], [labels], None, number)


def times(model: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of each variant in each round."""
    steps = {variant: step_of(model, variant) for variant in VARIANTS}
    found: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for number in range(rounds + 1):
        for variant, step in steps.items():
            start = time.perf_counter()
            step(number)
            if number:  # the first round warms up
                found[variant].append(time.perf_counter() - start)
        print(f"{model}: round {number} of {rounds}", flush=True)
    return found


def peak(model: str, variant: str, threads: int) -> int:
    """Bytes resident at the peak of a step (Linux)."""
    # Freed memory goes back to the system at once: what is left of the allocator's habits would hide the difference.
    os.environ |= {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return int(pool.apply(_peak, (model, variant, threads)))


def _peak(model: str, variant: str, threads: int) -> int:
    torch.set_num_threads(threads)
    step = step_of(model, variant)
    step(0)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    step(1)
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) * 1024


def ratios(found: dict[str, list[float]], against: str) -> Iterator[tuple[str, float]]:
    for variant, seconds in found.items():
        yield variant, statistics.median(a / b for a, b in zip(seconds, found[against], strict=True))


def rows(model: str, found: dict[str, list[float]], peaks: dict[str, int]) -> list[dict[str, Any]]:
    to = {name: dict(ratios(found, name)) for name in ("off", "labeled", "dot", "double")}
    return [
        {
            "model": model,
            "estimator": variant,
            "seconds": statistics.median(found[variant]),
            **{f"time / {name}": by[variant] for name, by in to.items()},
            "extra bytes over off": peaks[variant] - peaks["off"],
            "peak bytes": peaks[variant],
        }
        for variant in VARIANTS
    ]


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| model | estimator | time / off | time / dot | time / double | extra memory, MiB |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in results:
        times_of = " | ".join(f"{row[f'time / {name}']:.2f}" for name in ("off", "dot", "double"))
        extra = row["extra bytes over off"] / 2**20
        lines.append(f"| {row['model']} | {row['estimator']} | {times_of} | {extra:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = []
    for model in arguments.models:
        peaks = {variant: peak(model, variant, arguments.threads) for variant in VARIANTS}
        results += rows(model, times(model, arguments.rounds), peaks)
    print(table(results))
    if arguments.json:
        settings = {"rounds": arguments.rounds, "threads": arguments.threads, "torch": torch.__version__}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(
            json.dumps({**settings, "machine": platform.machine(), "results": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
