"""Plans and stages of the methods that ship, built from configs as a run builds them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
import torch.nn.functional as F

from mplframe.builders import Context, Maker
from mplframe.checkpoint.run_folder import RunFolder
from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.config.resolve import resolve
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.batch import Batch, Samples
from mplframe.contracts.method import Pass, Stage, StagePlan, Streams
from mplframe.errors import CheckpointError, ConfigError, UserError
from mplframe.plugins import Components, discover

SPEC = ImageSpec(size=4, channels=1, classes=3)
NETWORK: dict[str, Any] = {"network": {"name": "mlp", "hidden": [8]}, "optimizer": {"name": "sgd", "lr": 0.1}}
SUPERVISED: dict[str, Any] = {"name": "supervised", "steps": 4, "batch": 6, "student": NETWORK}
UDA: dict[str, Any] = {"name": "uda", "steps": 4, "batch": {"labeled": 6, "unlabeled": 12}, "student": NETWORK}
MPL: dict[str, Any] = {
    "name": "mpl", "steps": 4, "batch": {"labeled": 6, "unlabeled": 12}, "teacher": NETWORK, "student": NETWORK,
}  # fmt: skip


class OnlyMethod(BaseConfig):
    """The part of a run's config that this is about."""

    method: Annotated[ComponentConfig, Kind("method")]


@pytest.fixture(scope="module")
def installed() -> Components:
    return discover()


@pytest.fixture
def context(installed: Components, tmp_path: Path) -> Iterator[Context]:
    backend = installed.get("backend", "single")()
    return Context(backend, SPEC, 5, "0-mpl", Maker(installed), ((0.5,), (0.5,)), RunFolder(tmp_path))


def plans(installed: Components, raw: dict[str, Any]) -> list[StagePlan]:
    config = resolve(OnlyMethod, {"method": raw}, installed.config).method
    make = Maker(installed)
    return list(make("method", config).stages(make))


def batch(seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (4, 12, 1, 4, 4), generator=random, dtype=torch.uint8)
    labels = torch.randint(3, (12,), generator=random)
    return Batch(Samples(images[0, :6], images[1, :6], labels[:6]), Samples(images[2], images[3], labels))


def passes(plan: StagePlan) -> list[tuple[str, int, bool]]:
    return sorted((p.network, p.images, p.backward) for p in plan.passes)


def test_supervised_learning_is_fed_labeled_samples_alone(installed: Components) -> None:
    (plan,) = plans(installed, {**SUPERVISED, "accumulate": 2})
    assert (plan.name, plan.steps) == ("supervised", 4)
    assert plan.streams == Streams(6, 0, views=frozenset({"labeled"}), accumulate=2)
    assert list(plan.passes) == [Pass("student", 6, True)]


def test_strong_views_are_asked_for_where_a_loss_needs_them(installed: Components) -> None:
    (plan,) = plans(installed, {**SUPERVISED, "losses": [{"name": "supervised", "view": "labeled_strong"}]})
    assert plan.streams.views == {"labeled_strong"}
    (plan,) = plans(installed, UDA)
    assert plan.streams == Streams(6, 12, views=frozenset({"labeled", "weak", "strong"}))
    assert passes(plan) == [("student", 6 + 12 + 12, True)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, [("student", 6, True), ("student", 12, True), ("teacher", 30, True)]),
        ({"feedback": "off"}, [("student", 12, True), ("teacher", 30, True)]),
        (
            {"batch": {"labeled": 6, "unlabeled": 12, "accumulate": 3}},
            [("student", 6, True), ("student", 12, True), ("teacher", 30, False), ("teacher", 30, True)],
        ),
        ({"teacher": {**NETWORK, "losses": []}, "pseudo_label": {"teacher_view": "weak"}},
         [("student", 6, True), ("student", 12, True), ("teacher", 12, True)]),
    ],
)  # fmt: skip
def test_the_passes_of_mpl_are_those_that_it_makes(
    installed: Components, context: Context, change: dict[str, Any], expected: list[Any]
) -> None:
    (plan,) = plans(installed, {**MPL, **change})
    assert passes(plan) == sorted(expected)
    stage = plan.build(context)
    made: list[tuple[str, int]] = []
    for role, network in stage.networks("raw").items():
        network.register_forward_hook(lambda module, images, _, role=role: made.append((role, len(images[0]))))
    stage.step(batch().split(plan.streams.accumulate), 0)
    total = {role: sum(n for r, n in made if r == role) for role in ("student", "teacher")}
    assert total == {role: sum(n for r, n, _ in expected if r == role) for role in ("student", "teacher")}


def test_finetuning_is_a_stage_of_its_own(installed: Components) -> None:
    first, second = plans(installed, {**MPL, "finetune": {"steps": 3, "batch": 4}})
    assert (first.name, second.name, second.steps) == ("mpl", "finetune", 3)
    assert second.streams == Streams(4, 0, views=frozenset({"labeled"}))
    assert [n.role for n in first.networks] == ["student", "teacher"]
    assert [n.role for n in second.networks] == ["student"]


def test_finetuning_begins_with_the_students_averaged_weights(installed: Components, context: Context) -> None:
    student = {**NETWORK, "ema": 0.5}
    first, second = plans(installed, {**MPL, "student": student, "finetune": {"steps": 3, "batch": 6}})
    stage = first.build(context)
    for step in range(2):
        stage.step([batch(step)], step)
    with pytest.raises(CheckpointError):
        second.build(context)
    assert context.run_folder is not None
    for role, state in stage.artifacts().items():
        context.run_folder.keep_artifact(context.method, role, state)
    began = second.build(context).networks("raw")["student"].state_dict()
    averaged, raw = (stage.networks(weights)["student"].state_dict() for weights in ("ema", "raw"))
    for name, value in began.items():
        assert torch.equal(value, averaged[name])
        assert not torch.equal(value, raw[name])


def test_initial_weights_depend_on_seed_and_role_alone(installed: Components, context: Context) -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)  # must not matter
        (plan,) = plans(installed, MPL)
        return {role: next(network.parameters()) for role, network in plan.build(context).networks("raw").items()}

    one, two = weights(1), weights(2)
    assert torch.equal(one["student"], two["student"])
    assert not torch.equal(one["student"], one["teacher"])


def test_supervised_learning_is_plain_training(installed: Components, context: Context) -> None:
    (plan,) = plans(installed, {**SUPERVISED, "student": {**NETWORK, "schedule": "constant"}})
    stage, reference = plan.build(context), plan.build(context)
    module = reference.networks("raw")["student"].train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for step in range(4):
        fed = batch(step)
        stage.step([fed], step)
        optimizer.zero_grad()
        F.cross_entropy(module((fed.labeled.weak / 127.5) - 1.0), fed.labeled.labels).backward()
        optimizer.step()
    for mine, theirs in zip(stage.networks("raw")["student"].parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("raw", [SUPERVISED, UDA, MPL], ids=lambda raw: str(raw["name"]))
def test_a_stage_resumed_is_a_stage_undisturbed(
    installed: Components, context: Context, tmp_path: Path, raw: dict[str, Any]
) -> None:
    (plan,) = plans(installed, raw)
    whole, first, second = (plan.build(context) for _ in range(3))
    path = tmp_path / "state.pt"
    for step in range(4):
        whole.step([batch(step)], step)
    for step in range(2):
        first.step([batch(step)], step)
    torch.save(first.state_dict(), path)
    second.load_state_dict(torch.load(path, weights_only=True))
    torch.manual_seed(99)  # nothing may depend on the global generator
    for step in range(2, 4):
        second.step([batch(step)], step)
    assert_same_networks(whole, second)


def assert_same_networks(one: Stage, two: Stage) -> None:
    for role, network in one.networks("ema").items():
        for name, value in network.state_dict().items():
            assert torch.equal(two.networks("ema")[role].state_dict()[name], value), f"{role}.{name}"


@pytest.mark.parametrize("raw", [SUPERVISED, UDA, MPL], ids=lambda raw: str(raw["name"]))
def test_a_step_reports_numbers_on_the_device(installed: Components, context: Context, raw: dict[str, Any]) -> None:
    (plan,) = plans(installed, raw)
    metrics = plan.build(context).step([batch()], 0)
    assert {"student/loss", "student/lr"} <= metrics.keys()
    assert all(
        value.shape in ((), (2,)) and not value.requires_grad and bool(value.isfinite().all())
        for value in metrics.values()
    )


@pytest.mark.parametrize("raw", [SUPERVISED, UDA], ids=lambda raw: str(raw["name"]))
def test_a_method_that_trains_on_nothing_is_refused(installed: Components, raw: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"method\.losses"):
        plans(installed, {**raw, "losses": []})


def test_the_labels_of_unlabeled_samples_change_nothing(installed: Components, context: Context) -> None:
    """Where the truth is known it is for diagnostics alone."""
    (plan,) = plans(installed, MPL)
    told, untold = plan.build(context), plan.build(context)
    fed = batch()
    assert fed.unlabeled is not None
    told.step([fed], 0)
    untold.step([Batch(fed.labeled, Samples(fed.unlabeled.weak, fed.unlabeled.strong))], 0)
    assert_same_networks(told, untold)


def test_soft_labels_need_an_estimator_that_hears_them(installed: Components) -> None:
    soft = {**MPL, "pseudo_label": {"kind": "soft"}}
    for name in ("exact", "off"):
        assert plans(installed, {**soft, "feedback": name})
    for feedback in ("cosine", "per_example", "taylor", {"name": "baseline", "inner": "dot"}):
        with pytest.raises(UserError, match=r"pseudo_label\.kind is 'soft'; use the feedback 'exact'"):
            plans(installed, {**MPL, "feedback": feedback, "pseudo_label": {"kind": "soft"}})


@pytest.mark.parametrize(
    ("feedback", "extra"),
    [
        ("off", []),
        ("cosine", [("student", 6, True)]),
        ("taylor", [("student", 6, False)] * 2),
        ("exact", [("student", 6, True), ("student", 12, False), ("student", 12, False)]),
    ],
)
def test_a_plan_counts_what_feedback_costs(
    installed: Components, feedback: str, extra: list[tuple[str, int, bool]]
) -> None:
    (plan,) = plans(installed, {**MPL, "feedback": feedback})
    assert passes(plan) == sorted([("student", 12, True), ("teacher", 30, True), *extra])


FEEDBACK = ("baseline", "cosine", "dot", "exact", "per_example", "taylor")
OPTIMIZERS = ("sgd", "rmsprop", "adam", "adamw", "lars")


@pytest.mark.parametrize("kind", ["sampled", "argmax", "soft"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("feedback", FEEDBACK)
def test_every_estimator_goes_with_every_optimizer(
    installed: Components, context: Context, feedback: str, optimizer: str, kind: str
) -> None:
    if kind == "soft" and feedback != "exact":
        return  # refused, see above
    learner = {"network": NETWORK["network"], "optimizer": {"name": optimizer}}
    raw = {**MPL, "feedback": feedback, "pseudo_label": {"kind": kind}, "teacher": learner, "student": learner}
    (plan,) = plans(installed, raw)
    stage = plan.build(context)
    for step in range(2):
        metrics = stage.step([batch(step)], step)
        assert all(bool(value.isfinite().all()) for value in metrics.values())
    assert {"feedback/h", "feedback/h_positive", "teacher/feedback_share", "teacher/label_entropy"} <= metrics.keys()
    assert 0 <= metrics["teacher/feedback_share"] <= 1
    assert ("student/gradient_cosine" in metrics) == (feedback != "taylor")
