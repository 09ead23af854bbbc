"""What the diagnostics cost: CPU time of an MPL step with them and without, taking turns in one process.

    python benchmarks/diagnostics_cost.py --json benchmarks/results/diagnostics_cost.json

"Without" replaces each function that computes a diagnostic and nothing else by one that returns a constant.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch

from benchmarks.feedback_cost import learner, network
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.batch import Batch, Samples
from mplframe.feedback.baseline import Baseline
from mplframe.feedback.cosine import Cosine
from mplframe.losses.supervised import Supervised
from mplframe.losses.uda import UDA
from mplframe.methods.mpl import MPLStage
from mplframe.models.small_cnn import SmallCNN
from mplframe.training.student import NetworkStudent
from mplframe.training.teacher import NetworkTeacher

# Channels, size of the images, labeled and unlabeled samples of a step, rounds.
SIZES = {"small_cnn": (1, 8, 32, 128, 150), "wide_resnet-28-2": (3, 32, 32, 64, 20)}


@contextmanager
def silent() -> Iterator[None]:
    """No diagnostics in this block."""
    nothing = torch.zeros(())
    with (
        mock.patch("mplframe.training.teacher.squared_slope", return_value=nothing),
        mock.patch("mplframe.training.teacher.entropy", return_value=nothing),
        mock.patch("mplframe.training.teacher.agreement", return_value=None),
        mock.patch("mplframe.training.student.cosine", return_value=nothing),
    ):
        yield


def stage(model: str) -> MPLStage:
    """Teacher and student of the default feedback."""

    def made(seed: int) -> torch.nn.Module:
        if model != "small_cnn":
            return network(model, seed)
        torch.manual_seed(seed)
        return SmallCNN(SmallCNN.Config()).build(ImageSpec(size=8, channels=1, classes=10))

    teacher = NetworkTeacher(learner(made(1)), [Supervised(), UDA()])
    return MPLStage(teacher, NetworkStudent(learner(made(2))), Baseline(inner=Cosine()))


def batch(model: str) -> Batch:
    channels, size, labeled, unlabeled, _ = SIZES[model]
    random = torch.Generator().manual_seed(0)

    def samples(count: int) -> Samples:
        weak, strong = torch.randn((2, count, channels, size, size), generator=random)
        return Samples(weak, strong, torch.randint(10, (count,), generator=random))

    return Batch(samples(labeled), samples(unlabeled))


def ratios(model: str) -> list[float]:
    """CPU time with diagnostics over CPU time without, round by round; who goes first takes turns too."""
    live, given, found = stage(model), [batch(model)], []
    for number in range(SIZES[model][-1] + 2):
        seconds = {}
        for quiet in (True, False) if number % 2 else (False, True):
            start = time.process_time()
            if quiet:
                with silent():
                    live.step(given, number)
            else:
                live.step(given, number)
            seconds[quiet] = time.process_time() - start
        if number > 1:  # the first rounds warm up
            found.append(seconds[False] / seconds[True])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for model in arguments.models:
        found = ratios(model)
        low, middle, high = statistics.quantiles(found, n=4)
        results[model] = {"median": middle, "quartiles": [low, high], "rounds": len(found)}
        low, middle, high = (100 * (ratio - 1) for ratio in (low, middle, high))
        print(f"{model}: diagnostics add {middle:.1f} % (quartiles {low:.1f} to {high:.1f})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"torch": torch.__version__, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
