"""Noisy Student, billion-scale learning and Reduced MPL, built from configs as a run builds them."""

from pathlib import Path
from typing import Annotated, Any

import pyarrow.parquet as pq
import pytest
import torch

from mplframe.builders import Maker
from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.config.resolve import resolve
from mplframe.contracts.method import Plan, Stage, StagePlan, TaskPlan
from mplframe.data.manifests import assigned_split, read_assignment
from mplframe.errors import ConfigError, UserError
from mplframe.plugins import Components, discover
from mplframe.testing import check_method
from mplframe.testing.context import SAMPLES, MemoryContext
from mplframe.testing.problem import SPEC, random_batch

NETWORK: dict[str, Any] = {"network": {"name": "small_cnn", "channels": 4, "blocks": 2}, "optimizer": {"lr": 0.05}}
NOISY: dict[str, Any] = {
    "name": "noisy_student",
    "batch": {"labeled": 4, "unlabeled": 8},
    "teacher": {**NETWORK, "steps": 4},
    "rounds": [{**NETWORK, "steps": 4}, {**NETWORK, "steps": 3, "warm_start": True}],
    "pseudo_labels": {"select": {"threshold": 0.0, "top_k": 10, "balance": True}},
    "fixres": {"size": 12, "steps": 2, "batch": 4, "freeze": ["body.0.*"]},
}
BILLION: dict[str, Any] = {
    "name": "billion_scale",
    "teacher": {**NETWORK, "steps": 4, "batch": 4},
    "student": {**NETWORK, "steps": 4, "batch": 8},
    "pseudo_labels": {"labels": "hard", "select": {"top_p": 2, "top_k": 5}},
    "finetune": {"steps": 2, "batch": 4},
}
REDUCED: dict[str, Any] = {
    "name": "reduced_mpl",
    "large": {**NETWORK, "steps": 4, "batch": 4},
    "steps": 4,
    "batch": {"labeled": 4, "unlabeled": 8},
    "teacher": {"network": {"name": "mlp", "hidden": [16, 16, 16, 16]}, "ema": None},
    "student": NETWORK,
    "finetune": {"steps": 2, "batch": 4},
}


class Holder(BaseConfig):
    method: Annotated[ComponentConfig, Kind("method")]


@pytest.fixture(scope="module")
def installed() -> Components:
    return discover()


@pytest.fixture
def context(installed: Components, tmp_path: Path) -> MemoryContext:
    return MemoryContext.on_the_cpu(Maker(installed), SPEC, tmp_path)


def plans(installed: Components, config: dict[str, Any]) -> list[Plan]:
    make = Maker(installed)
    return list(make("method", resolve(Holder, {"method": config}, installed.config).method).stages(make))


def done(plan: Plan, context: MemoryContext) -> Any:
    """The results of a task, or the stage after two steps."""
    if isinstance(plan, TaskPlan):
        return plan.run(context)
    stage = plan.build(context)
    for step in range(2):
        stage.step([random_batch(SPEC, labeled=plan.streams.labeled, seed=step)], step)
    context.artifacts.update(stage.artifacts())
    return stage


@pytest.mark.parametrize("config", [NOISY, BILLION, REDUCED], ids=lambda c: str(c["name"]))
def test_it_keeps_the_contract_of_methods(installed: Components, config: dict[str, Any]) -> None:
    make = Maker(installed)
    settings = resolve(Holder, {"method": config}, installed.config).method
    check_method(lambda: make("method", settings))


@pytest.mark.parametrize("loss", ["mixup", "annealed", {"name": "fixmatch", "threshold": 0.4}, "mean_teacher"], ids=str)
def test_a_teacher_of_any_baseline_takes_feedback(installed: Components, loss: Any) -> None:
    """MPL v4, D.4 and table 10."""
    make = Maker(installed)
    supervised = [] if loss in ("mixup", "annealed") else ["supervised"]
    teacher = {**NETWORK, "ema": 0.9, "losses": [*supervised, loss]}
    batch = {"labeled": 4, "unlabeled": 8, "accumulate": 2}
    config = {"name": "mpl", "steps": 4, "batch": batch, "teacher": teacher, "student": NETWORK, "feedback": "exact"}
    settings = resolve(Holder, {"method": config}, installed.config).method
    check_method(lambda: make("method", settings))


def test_an_average_that_is_compared_with_has_to_be_kept(installed: Components) -> None:
    config = {"name": "uda", "steps": 4, "student": NETWORK, "losses": ["supervised", "mean_teacher"]}
    with pytest.raises(UserError, match="set `ema`"):
        plans(installed, config)


@pytest.mark.parametrize("feedback", ["dot", "cosine", "per_example", "exact", "off"])
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_reduced_mpl_works_with_every_estimator(installed: Components, feedback: str, optimizer: str) -> None:
    make = Maker(installed)
    student = {**NETWORK, "optimizer": {"name": optimizer, "lr": 0.01}}
    config = {**REDUCED, "feedback": feedback, "student": student, "finetune": None}
    settings = resolve(Holder, {"method": config}, installed.config).method
    if feedback == "off":  # then nothing is left for the reduced teacher to learn from
        assert [plan.name for plan in make("method", settings).stages(make)][-1] == "reduced_mpl"
        return
    check_method(lambda: make("method", settings), steps=2)


def test_noisy_student_is_algorithm_1(installed: Components) -> None:
    found = plans(installed, NOISY)
    assert [plan.name for plan in found] == [
        "teacher", "label_1", "select_1", "student_1", "label", "select", "student", "fixres",
    ]  # fmt: skip
    stages = {plan.name: plan for plan in found if isinstance(plan, StagePlan)}
    assert stages["student_1"].streams.assigned == "selected_1"
    assert stages["student"].streams.assigned == "selected"
    assert (stages["fixres"].streams.size, stages["fixres"].streams.augmented) == (12, frozenset())
    labels = {plan.name: plan.networks[0].role for plan in found if plan.name.startswith("label")}
    assert labels == {"label_1": "teacher", "label": "student_1"}


def test_the_ablations_of_table_6_are_settings(installed: Components) -> None:
    still = {**NOISY, "noise": {"augmentation": False, "model": False}}
    student = next(plan for plan in plans(installed, still) if plan.name == "student")
    assert isinstance(student, StagePlan)
    assert student.streams.augmented == {"labeled"}


def test_labels_selected_become_targets(installed: Components, context: MemoryContext) -> None:
    teacher, label, select, *_ = plans(installed, NOISY)
    done(teacher, context)
    assert done(label, context) == {"images": SAMPLES, "of": SAMPLES}
    found = done(select, context)
    assert found["images"] == SAMPLES
    assert found["selected"] + sum(found["dropped"].values()) == SAMPLES
    assert found["by_class"] == [10 if n else 0 for n in found["by_class"]]  # balanced: ten of each class that has any

    manifest = context.folder("selected_1") / "manifest.parquet"
    split = assigned_split(context.split("unlabeled"), read_assignment(str(manifest)), SPEC.classes)
    assert len(split) == found["samples"]
    (folder,) = context.folder("scores_1").glob("*.parquet")
    scores = {row["index"]: row["distribution"] for row in pq.read_table(folder).to_pylist()}
    rows = pq.read_table(manifest).to_pylist()
    expected = sorted(row["index"] for row in rows for _ in range(row["repeat"]))
    samples = split.read(range(len(split)))
    assert [int(sample.key) for sample in samples] == expected
    for sample in samples:
        assert sample.target is not None
        assert sample.target.tolist() == scores[int(sample.key)]


def test_hard_labels_count_an_image_for_each_class_it_was_selected_for(
    installed: Components, context: MemoryContext
) -> None:
    teacher, label, select, *_ = plans(installed, BILLION)
    for plan in (teacher, label, select):
        done(plan, context)
    manifest = context.folder("selected") / "manifest.parquet"
    split = assigned_split(context.split("unlabeled"), read_assignment(str(manifest)), SPEC.classes)
    rows = pq.read_table(manifest).to_pylist()
    (folder,) = context.folder("scores").glob("*.parquet")
    best: dict[int, list[tuple[float, int]]] = {c: [] for c in range(SPEC.classes)}
    for row in pq.read_table(folder).to_pylist():
        for label, probability in zip(row["classes"], row["probabilities"], strict=True):
            best[label].append((-probability, row["index"]))
    expected = {(index, label) for label, found in best.items() for _, index in sorted(found)[:5]}
    assert {(row["index"], row["label"]) for row in rows} == expected
    assert len(split) == len(rows) == len(expected)
    targets = [sample.target.argmax() for sample in split.read(range(len(split))) if sample.target is not None]
    assert sorted(targets) == sorted(row["label"] for row in rows)


def test_pre_training_looks_at_no_labels(installed: Components, context: MemoryContext) -> None:
    found = plans(installed, BILLION)
    assert [plan.name for plan in found] == ["teacher", "label", "select", "pretrain", "finetune"]
    pretrain = found[3]
    assert isinstance(pretrain, StagePlan)
    assert pretrain.streams.views == {"weak"}


def test_self_training_puts_the_student_in_the_teachers_place(installed: Components) -> None:
    found = plans(installed, {**BILLION, "rounds": 2})
    assert [plan.name for plan in found] == [
        "teacher", "label_1", "select_1", "pretrain_1", "finetune_1", "label", "select", "pretrain", "finetune",
    ]  # fmt: skip
    assert [plan.networks[0].role for plan in found if plan.name == "label"] == ["student_1"]


def test_the_large_teacher_is_gone_when_the_student_learns(installed: Components, context: MemoryContext) -> None:
    large, label, select, reduced, _ = plans(installed, REDUCED)
    for plan in (large, label, select):
        done(plan, context)
    assert isinstance(reduced, StagePlan)
    assert [network.role for network in reduced.networks] == ["student", "teacher"]
    stage = reduced.build(context)
    assert isinstance(stage, Stage)
    assert set(stage.networks("raw")) == {"student"}  # the reduced teacher takes no images
    sizes = [list(p.shape) for p in stage.teacher.learner.parameters if p.ndim == 2]  # type: ignore[attr-defined]
    assert sizes == [[16, SPEC.classes], [16, 16], [16, 16], [16, 16], [SPEC.classes, 16]]


def test_feedback_moves_the_reduced_teacher_and_nothing_else_does(
    installed: Components, context: MemoryContext
) -> None:
    moved = {}
    for feedback in ("off", "cosine"):
        reduced = plans(installed, {**REDUCED, "feedback": feedback})[3]
        assert isinstance(reduced, StagePlan)
        stage = reduced.build(context)
        batch = random_batch(SPEC, labeled=4, unlabeled=8, seed=1)
        assert batch.unlabeled is not None
        odds = torch.rand(8, SPEC.classes, generator=torch.Generator().manual_seed(0))
        batch = type(batch)(batch.labeled, type(batch.unlabeled)(**{**vars(batch.unlabeled), "targets": odds}))
        before = [p.detach().clone() for p in stage.teacher.learner.parameters]  # type: ignore[attr-defined]
        stage.step([batch], 0)
        after = stage.teacher.learner.parameters  # type: ignore[attr-defined]
        moved[feedback] = any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert moved == {"off": False, "cosine": True}


def test_what_cannot_work_is_refused(installed: Components, context: MemoryContext) -> None:
    with pytest.raises(ConfigError, match="labels must be soft"):
        plans(installed, {**REDUCED, "pseudo_labels": {"labels": "hard"}})
    nothing = {**NOISY, "pseudo_labels": {"select": {"threshold": 1.0}}}
    teacher, label, select, *_ = plans(installed, nothing)
    done(teacher, context)
    done(label, context)
    with pytest.raises(UserError, match=f"no image was selected: of {SAMPLES} scored, {SAMPLES} by threshold"):
        done(select, context)
