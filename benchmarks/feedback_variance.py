"""How much what the teacher hears varies with the labels that happen to be drawn, as the batch grows.

    python benchmarks/feedback_variance.py --json benchmarks/results/feedback_variance.json

Teacher and student train together on handwritten digits for some steps; then the same step is made again and again from
there, with other labels each time. The variance is that of the teacher's whole gradient from the feedback: the trace of
its covariance over the draws, in units of the squared norm of the mean of `exact`, which all estimate to first order.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.batch import Batch, Samples
from mplframe.contracts.feedback import FeedbackEstimator
from mplframe.feedback.dot import Dot
from mplframe.feedback.exact import Exact
from mplframe.feedback.per_example import PerExample
from mplframe.losses.supervised import Supervised
from mplframe.methods.mpl import MPLStage
from mplframe.models.small_cnn import SmallCNN
from mplframe.training.labeling import Labeling
from mplframe.training.learner import Learner
from mplframe.training.student import NetworkStudent
from mplframe.training.teacher import NetworkTeacher

ESTIMATORS: dict[str, Callable[[], FeedbackEstimator]] = {"dot": Dot, "per_example": PerExample, "exact": Exact}
SIZES = (1, 4, 16, 64, 256)
LABELED = 40


def learner(seed: int) -> Learner:
    torch.manual_seed(seed)
    module = SmallCNN(SmallCNN.Config()).build(ImageSpec(size=8, channels=1, classes=10))
    return Learner(module, torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, nesterov=True))


def digits(size: int, step: int) -> Batch:
    """The first images are labeled; `size` others are not."""
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    chosen = torch.randint(LABELED, len(images), (size,), generator=torch.Generator().manual_seed(step))
    labels = torch.tensor(data.target[:LABELED])
    return Batch(Samples(images[:LABELED], None, labels), Samples(images[chosen], images[chosen]))


def trained(steps: int, seed: int) -> MPLStage:
    labeling = Labeling()
    stage = MPLStage(
        NetworkTeacher(learner(seed), [Supervised()], labeling=labeling, seed=seed),
        NetworkStudent(learner(seed + 100), labeling=labeling, seed=seed),
        Dot(),
    )
    for step in range(steps):
        stage.step([digits(128, step)], step)
    return stage


def gradients(stage: MPLStage, estimator: FeedbackEstimator, size: int, draws: int) -> Tensor:
    """[draws, parameters] what the teacher hears, from the same state with other labels each time."""
    given = [digits(size, 10_000 + size)]
    heard = []
    for draw in range(draws):
        student, teacher = copy.deepcopy(stage.student), copy.deepcopy(stage.teacher)
        assert isinstance(teacher, NetworkTeacher)
        module: nn.Module = teacher.module
        listening = NetworkTeacher(Learner(module, torch.optim.SGD(module.parameters(), lr=1.0)))
        # The same forward each time; the noise that draws the labels differs.
        labels = [
            replace(q, labels=torch.multinomial(q.probabilities, 1, generator=_seeded(draw, size)).squeeze(1))
            for q in listening.label(given, 0)
        ]
        before = _flat(module)
        move, _ = student.learn(given, labels, 0, requires=estimator.requires)
        listening.learn(given, labels, estimator.estimate(move), 0)
        heard.append(before - _flat(module))
    return torch.stack(heard).double()


def _seeded(draw: int, size: int) -> torch.Generator:
    return torch.Generator().manual_seed(1_000_003 * size + draw)


def _flat(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


def compare(size: int, draws: int, seeds: int, steps: int) -> dict[str, Any]:
    """Variance of each estimator at one batch size, the median over seeds, and what it is to that of `dot`."""
    relative: dict[str, list[float]] = {name: [] for name in ESTIMATORS}
    for seed in range(seeds):
        stage = trained(steps, seed)
        found = {name: gradients(stage, make(), size, draws) for name, make in ESTIMATORS.items()}
        unit = found["exact"].mean(0).square().sum()
        for name, every in found.items():
            relative[name].append(float(every.var(0).sum() / unit))
    medians = {name: float(torch.tensor(values).median()) for name, values in relative.items()}
    return {"unlabeled": size, "variance": medians, "dot / per_example": medians["dot"] / medians["per_example"]}


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| unlabeled samples | dot | per_example | exact | dot / per_example |",
        "|---:|---:|---:|---:|---:|",
    ]
    for row in results:
        values = " | ".join(f"{row['variance'][name]:.3g}" for name in ESTIMATORS)
        lines.append(f"| {row['unlabeled']} | {values} | {row['dot / per_example']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100, help="of training before the comparison")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = [compare(size, arguments.draws, arguments.seeds, arguments.steps) for size in SIZES]
    print(table(results))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        settings = {"draws": arguments.draws, "seeds": arguments.seeds, "steps": arguments.steps}
        arguments.json.write_text(
            json.dumps({**settings, "torch": torch.__version__, "results": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
