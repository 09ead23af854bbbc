"""Pseudo Labels, built from configs as a run builds it."""

from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
import torch.nn.functional as F

import mplframe
from mplframe.builders import Maker
from mplframe.checkpoint.format import load as load_checkpoint
from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.config.resolve import resolve
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.batch import Batch, Samples
from mplframe.contracts.method import Stage, StagePlan, Streams
from mplframe.errors import ConfigError, UserError
from mplframe.plugins import Components, discover
from mplframe.testing import check_method, named
from mplframe.testing.context import MemoryContext

SPEC = ImageSpec(size=4, channels=1, classes=3)
NETWORK: dict[str, Any] = {"network": {"name": "mlp", "hidden": [8]}, "optimizer": {"name": "sgd", "lr": 0.1}}
METHOD: dict[str, Any] = {
    "name": "pseudo_label", "steps": 4, "batch": {"labeled": 6, "unlabeled": 12},
    "teacher": NETWORK, "student": NETWORK, "pseudo_label": {"threshold": 0.4},
}  # fmt: skip


class OnlyMethod(BaseConfig):
    """The part of a run's config that this is about."""

    method: Annotated[ComponentConfig, Kind("method")]


@pytest.fixture(scope="module")
def installed() -> Components:
    return discover()


def plans(installed: Components, **change: Any) -> list[StagePlan]:
    config = resolve(OnlyMethod, {"method": {**METHOD, **change}}, installed.config).method
    make = Maker(installed)
    return list(make("method", config).stages(make))


def context(installed: Components, tmp_path: Path) -> MemoryContext:
    return MemoryContext.on_the_cpu(Maker(installed), SPEC, tmp_path)


def batch(seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (4, 12, 1, 4, 4), generator=random, dtype=torch.uint8)
    labels = torch.randint(3, (12,), generator=random)
    return Batch(Samples(images[0, :6], images[1, :6], labels[:6]), Samples(images[2], images[3], labels))


def taught(installed: Components, context: MemoryContext, **change: Any) -> tuple[Stage, Stage]:
    """The teacher's stage at its end, and the student's at its beginning."""
    first, second = plans(installed, **change)[:2]
    teacher = first.build(context)
    for step in range(first.steps):
        teacher.step([batch(step)], step)
    context.artifacts.update(teacher.artifacts())
    return teacher, second.build(context)


def test_the_teacher_learns_first_on_labels_alone(installed: Components) -> None:
    teacher, student, finetune = plans(installed, finetune={"steps": 3, "batch": 4})
    assert [plan.name for plan in (teacher, student, finetune)] == ["teacher", "student", "finetune"]
    assert [plan.steps for plan in (teacher, student, finetune)] == [4, 4, 3]
    assert teacher.streams == Streams(6, 0, views=frozenset({"labeled"}))
    assert student.streams == Streams(1, 12, views=frozenset({"weak", "strong"}))
    assert [network.role for network in student.networks] == ["student", "teacher"]


def test_a_teacher_with_a_loss_of_unlabeled_samples_is_fed_some(installed: Components) -> None:
    losses = [{"name": "supervised"}, {"name": "uda"}]
    teacher, _ = plans(installed, teacher={**NETWORK, "losses": losses, "steps": 7})
    assert teacher.steps == 7
    assert teacher.streams == Streams(6, 12, views=frozenset({"labeled", "weak", "strong"}))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_passes_are_those_that_it_makes(installed: Components, tmp_path: Path, accumulate: int) -> None:
    change = {"batch": {"labeled": 6, "unlabeled": 12, "accumulate": accumulate}}
    (_, plan), here = plans(installed, **change), context(installed, tmp_path)
    _, stage = taught(installed, here, **change)
    made = {"student": 0, "teacher": 0}
    for role, network in stage.networks("raw").items():
        network.register_forward_hook(lambda _, images, __, role=role: made.update({role: made[role] + len(images[0])}))
    stage.step(batch().split(accumulate), 0)
    assert made == {each.network: each.images for each in plan.passes}
    assert {each.network: each.backward for each in plan.passes} == {"student": True, "teacher": False}


def test_the_student_learns_the_confident_labels_of_the_fixed_teacher(installed: Components, tmp_path: Path) -> None:
    """Against plain torch: the teacher's averaged weights in evaluation mode label weak views; the student is trained
    on strong ones, and samples of little confidence count 0."""
    change: dict[str, Any] = {"teacher": {**NETWORK, "ema": 0.5}, "student": {**NETWORK, "schedule": "constant"}}
    here = context(installed, tmp_path)
    teaching, stage = taught(installed, here, **change)
    teacher = teaching.networks("ema")["teacher"].eval()
    reference = plans(installed, **change)[1].build(here)
    module = reference.networks("raw")["student"].train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for step in range(4):
        fed = batch(step)
        assert fed.unlabeled is not None
        assert fed.unlabeled.strong is not None
        stage.step([fed], step)
        with torch.no_grad():
            confidence, labels = teacher(fed.unlabeled.weak).softmax(-1).max(-1)
        counts = confidence >= 0.4
        assert 0 < int(counts.sum()) < len(counts), "the threshold does nothing here"
        optimizer.zero_grad()
        (F.cross_entropy(module(fed.unlabeled.strong), labels, reduction="none") * counts).mean().backward()
        optimizer.step()
    for mine, theirs in zip(stage.networks("raw")["student"].parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_the_truth_of_unlabeled_samples_changes_nothing(installed: Components, tmp_path: Path) -> None:
    here = context(installed, tmp_path)
    _, told = taught(installed, here)
    untold, fed = plans(installed)[1].build(here), batch()
    assert fed.unlabeled is not None
    told.step([fed], 0)
    untold.step([Batch(fed.labeled, Samples(fed.unlabeled.weak, fed.unlabeled.strong))], 0)
    for name, value in told.networks("raw")["student"].state_dict().items():
        assert torch.equal(untold.networks("raw")["student"].state_dict()[name], value)


def test_without_a_teacher_there_is_no_student(installed: Components, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="teacher"):
        plans(installed)[1].build(context(installed, tmp_path))


@pytest.mark.parametrize("kind", ["argmax", "sampled", "soft"])
def test_it_keeps_the_contract_of_methods(installed: Components, kind: str) -> None:
    network = {"name": "small_cnn", "channels": 4, "blocks": 2, "dropout": 0.1}
    learner = {"network": network, "optimizer": {"name": "sgd", "lr": 0.05}, "ema": 0.9}
    settings = {
        "name": "pseudo_label", "steps": 6, "batch": {"labeled": 6, "unlabeled": 8, "accumulate": 2},
        "teacher": learner, "student": {**learner, "label_smoothing": 0.1}, "finetune": {"steps": 4, "batch": 6},
        "pseudo_label": {"kind": kind, "threshold": 0.4},
    }  # fmt: skip
    check_method(named("method", settings, installed), components=installed)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"pseudo_label": {"threshold": 1.5}}, r"method\.pseudo_label\.threshold"),
        ({"pseudo_label": {"kind": "hard"}}, r"method\.pseudo_label\.kind"),
        ({"teacher": {**NETWORK, "losses": []}}, r"method\.teacher\.losses"),
        ({"teacher": {**NETWORK, "steps": -1}}, r"method\.teacher\.steps"),
    ],
)
def test_settings_that_make_no_sense_are_refused(installed: Components, change: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError, match=path):
        plans(installed, **change)


def test_a_run_resumed_within_the_students_stage_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLFRAME_CACHE", str(tmp_path / "cache"))
    network = {
        "network": {"name": "small_cnn", "channels": 4, "dropout": 0.2},
        "optimizer": {"name": "sgd", "lr": 0.05},
    }
    config = mplframe.from_dict(
        {
            "data": "digits",
            "input": {"size": 8, "channels": 1, "strong": [{"name": "randaugment", "operations": "svhn"}]},
            "method": {
                **METHOD, "steps": 8, "teacher": {**network, "ema": 0.5}, "student": network,
                "finetune": {"steps": 3, "batch": 6},
            },
            "checkpoint": {"every": 3, "keep": 10},
            "trackers": ["jsonl"],
        }
    )  # fmt: skip
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    mplframe.run(config, out=whole)
    middle = whole / "checkpoints" / "step-000000011.pt"
    assert load_checkpoint(middle)["stage"] == "student"
    mplframe.run(config, out=resumed, resume=str(middle))
    last = "checkpoints/step-000000019.pt"
    one, two = (load_checkpoint(folder / last)["state"]["module"] for folder in (whole, resumed))
    assert one.keys() == two.keys()
    assert all(torch.equal(value, two[name]) for name, value in one.items())
