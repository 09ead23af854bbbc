"""`lr_per`: a learning rate that is for so many samples, in steps of another number."""

from pathlib import Path
from typing import Annotated, Any

import pytest

from mplframe.builders import Maker
from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.config.resolve import resolve
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.method import Stage, StagePlan
from mplframe.methods.classifier import ClassifierStage
from mplframe.methods.mpl import MPLStage
from mplframe.plugins import Components, discover
from mplframe.testing.context import MemoryContext
from mplframe.training.learner import Learner

SPEC = ImageSpec(size=4, channels=1, classes=3)
TRAINING: dict[str, Any] = {"optimizer": {"name": "sgd", "lr": 0.1}, "lr_per": 2}
NETWORK: dict[str, Any] = {"network": {"name": "mlp", "hidden": [8]}, **TRAINING}
BOTH: dict[str, Any] = {"steps": 4, "batch": {"labeled": 6, "unlabeled": 10, "accumulate": 2}}
FINETUNE: dict[str, Any] = {**TRAINING, "batch": 14}
SUPERVISED: dict[str, Any] = {"name": "supervised", "steps": 4, "batch": 6, "accumulate": 3, "student": NETWORK}
UDA: dict[str, Any] = {"name": "uda", **BOTH, "student": NETWORK}
PSEUDO: dict[str, Any] = {"name": "pseudo_label", **BOTH, "teacher": NETWORK, "student": NETWORK, "finetune": FINETUNE}
MPL: dict[str, Any] = {**PSEUDO, "name": "mpl"}
REDUCED: dict[str, Any] = {
    "name": "reduced_mpl", **BOTH, "large": {**NETWORK, "steps": 4, "batch": 8}, "finetune": FINETUNE,
    "student": NETWORK, "teacher": {"optimizer": {"name": "adam", "lr": 0.1}, "lr_per": 2},
}  # fmt: skip
NOISY: dict[str, Any] = {
    "name": "noisy_student", "batch": {"labeled": 6, "unlabeled": 10}, "teacher": {**NETWORK, "steps": 4},
    "rounds": [{**NETWORK, "steps": 4, "ratio": 3}], "fixres": {**FINETUNE, "size": 4},
}  # fmt: skip
BILLION: dict[str, Any] = {
    "name": "billion_scale", "teacher": {**NETWORK, "steps": 4, "batch": 8},
    "student": {**NETWORK, "steps": 4, "batch": 12, "accumulate": 2}, "finetune": FINETUNE,
}  # fmt: skip
LEARNED = [
    (SUPERVISED, {"supervised student": 6}),
    (UDA, {"uda student": 6}),
    (PSEUDO, {"teacher teacher": 6, "student student": 10, "finetune student": 14}),
    (MPL, {"mpl teacher": 6, "mpl student": 10, "finetune student": 14}),
    (REDUCED, {"large large": 8, "reduced_mpl teacher": 10, "reduced_mpl student": 10, "finetune student": 14}),
    (NOISY, {"teacher teacher": 6, "student student": 6, "fixres student": 14}),
    (BILLION, {"teacher teacher": 8, "pretrain student": 12, "finetune student": 14}),
]
"""Samples that each network's rate is for, by stage and role."""


class OnlyMethod(BaseConfig):
    """The part of a run's config that this is about."""

    method: Annotated[ComponentConfig, Kind("method")]


@pytest.fixture(scope="module")
def installed() -> Components:
    return discover()


def plans(installed: Components, raw: dict[str, Any]) -> list[StagePlan]:
    make = Maker(installed)
    method = make("method", resolve(OnlyMethod, {"method": raw}, installed.config).method)
    return [plan for plan in method.stages(make) if isinstance(plan, StagePlan)]


def learners(stage: Stage) -> dict[str, Learner]:
    if isinstance(stage, ClassifierStage):
        return {stage.role: stage.learner}
    assert isinstance(stage, MPLStage)
    halves = {"student": stage.student, "teacher": stage.teacher}
    return {role: half.learner for role, half in halves.items() if hasattr(half, "learner")}


@pytest.mark.parametrize(("raw", "learned"), LEARNED, ids=[str(raw["name"]) for raw, _ in LEARNED])
def test_the_peak_is_proportional_to_what_is_learned_from(
    installed: Components, tmp_path: Path, raw: dict[str, Any], learned: dict[str, int]
) -> None:
    context = MemoryContext.on_the_cpu(Maker(installed), SPEC, tmp_path)
    planned: dict[str, float] = {}
    built: dict[str, list[float]] = {}
    for plan in plans(installed, raw):
        planned |= {f"{plan.name} {n.role}": n.lr_scale for n in plan.networks if n.optimizer is not None}
        stage = plan.build(context)
        context.artifacts.update(stage.artifacts())
        for role, learner in learners(stage).items():
            built[f"{plan.name} {role}"] = [group["lr"] for group in learner.optimizer.param_groups]
    assert planned == {where: samples / 2 for where, samples in learned.items()}
    assert built == {
        where: pytest.approx([0.1 * samples / 2] * len(built[where])) for where, samples in learned.items()
    }


def test_the_schedule_goes_on_from_the_scaled_peak(installed: Components, tmp_path: Path) -> None:
    halving = {"name": "milestones", "at": [2], "factor": 0.5}
    (plan,) = plans(installed, {**SUPERVISED, "student": {**NETWORK, "schedule": halving}})
    (learner,) = learners(plan.build(MemoryContext.on_the_cpu(Maker(installed), SPEC, tmp_path))).values()
    assert [learner.set_rate(step) for step in range(4)] == pytest.approx([0.3, 0.3, 0.15, 0.15])


def test_without_it_the_rate_is_taken_as_it_is(installed: Components, tmp_path: Path) -> None:
    (plan,) = plans(installed, {**SUPERVISED, "student": {**NETWORK, "lr_per": None}})
    (learner,) = learners(plan.build(MemoryContext.on_the_cpu(Maker(installed), SPEC, tmp_path))).values()
    assert learner.set_rate(0) == 0.1
