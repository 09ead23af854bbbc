"""Networks that begin with what a finished run has learned."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_runs import SMALL, finish

from mplframe.checkpoint.run_folder import RunFolder
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.errors import CheckpointError, UserError
from mplframe.testing import check_method, named

DIGITS = tuple("0123456789")
SPEC = ImageSpec(size=8, channels=1, classes=10, names=DIGITS, normalisation=((0.5,), (0.5,)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def own(run: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return shutil.copytree(run, tmp_path / "own")


def trained(run: Path, **settings: Any) -> Architecture:
    architecture: Architecture = named("architecture", {"name": "trained", "run": str(run), **settings})()
    return architecture


def weights(run: Path) -> dict[str, torch.Tensor]:
    kept = RunFolder(run).artifact("0-supervised", "student")
    return {name.removeprefix("body."): value for name, value in kept.items()}


def newest(run: Path) -> dict[str, Any]:
    last = max((run / "checkpoints").glob("step-*.pt"))
    state: dict[str, Any] = torch.load(last, weights_only=True)["state"]
    return state


def test_it_begins_with_the_average_that_the_run_judged(run: Path) -> None:
    architecture = trained(run, role="student")
    assert architecture.trained(SPEC)
    found = architecture.build(SPEC).state_dict()
    checkpoint = newest(run)
    moved = False
    for name, value in found.items():
        assert torch.equal(value, checkpoint["ema"][f"body.{name}"])
        moved |= not torch.equal(value, checkpoint["module"][f"body.{name}"])
    assert moved


def test_a_new_head_is_all_that_is_fresh(run: Path) -> None:
    spec = replace(SPEC, classes=3, names=("a", "b", "c"))
    architecture = trained(run, head="new")
    assert not architecture.trained(spec)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        network = architecture.build(spec)
        torch.manual_seed(4)
        fresh = named("architecture", SMALL)().build(spec).state_dict()
    learned, head = weights(run), []
    for name, value in network.state_dict().items():
        if value.shape == learned[name].shape:
            assert torch.equal(value, learned[name])
        else:
            head.append(name)
            assert torch.equal(value, fresh[name])
    assert [name.rpartition(".")[2] for name in head] == ["weight", "bias"]


def test_a_new_head_for_as_many_classes_is_fresh_too(run: Path) -> None:
    found, learned = trained(run, head="new").build(SPEC).state_dict(), weights(run)
    assert [name.rpartition(".")[2] for name in found if not torch.equal(found[name], learned[name])] == [
        "weight",
        "bias",
    ]


def test_a_plan_reads_no_weights(own: Path) -> None:
    shutil.rmtree(own / "artifacts")
    with torch.device("meta"):
        network = trained(own).build(SPEC)
    module = newest(own)["module"]
    assert {f"body.{name}": value.shape for name, value in network.state_dict().items()} == {
        name: value.shape for name, value in module.items()
    }
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*student\.pt"):
        trained(own).build(SPEC)


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({"channels": 3}, {}, "takes 1 channels and is given 3; give both runs the same input"),
        ({"normalisation": ((0.3,), (0.5,))}, {}, r"set input\.mean=\[0\.5\] and input\.std=\[0\.5\], as there"),
        ({"classes": 5, "names": DIGITS[:5]}, {}, "knows 10 classes, but the data have 5; head: new gives it a fresh"),
        ({"names": (*DIGITS[:8], "9", "8")}, {}, "class 8 of the student of .* is '8', in the data it is '9'"),
        ({}, {"role": "teacher"}, r"left no network 'teacher' \(it left: student\)"),
    ],
)
def test_what_does_not_fit_is_said(run: Path, change: dict[str, Any], settings: dict[str, Any], message: str) -> None:
    architecture = trained(run, **settings)
    for ask in (architecture.trained, architecture.build):
        with pytest.raises(UserError, match=message):
            ask(replace(SPEC, **change))


def test_a_run_is_needed_and_one_that_has_finished(own: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"isn't a run folder: it has no config\.yaml"):
        trained(tmp_path).build(SPEC)
    (own / "summary.json").unlink()
    with pytest.raises(CheckpointError, match="hasn't finished; the command that started it goes on with it"):
        trained(own).build(SPEC)


def test_weights_of_another_network_are_refused(own: Path) -> None:
    folder = RunFolder(own)
    state = dict(folder.artifact("0-supervised", "student"))
    state.popitem()
    folder.keep_artifact("0-supervised", "student", state)
    with pytest.raises(CheckpointError, match="is either in its weights or in its network, but not in both"):
        trained(own).build(SPEC)


def test_a_network_of_fixed_size_is_refused_at_another(tmp_path: Path) -> None:
    run = finish(tmp_path / "mlp", network={"name": "mlp", "hidden": [4]})
    with pytest.raises(UserError, match=r"built for images of 8 pixels and its .* doesn't fit those of 12"):
        trained(run).build(replace(SPEC, size=12))


def test_an_ensemble_of_runs_that_began_with_runs(own: Path, tmp_path: Path) -> None:
    """Whoever loads weights into a network reads no others: those of the run that it began with may be gone."""
    begun = finish(tmp_path / "begun", network={"name": "trained", "run": str(own)})
    members = [{"name": "trained", "run": str(path)} for path in (own, begun)]
    ensemble = named("architecture", {"name": "ensemble", "members": members})()
    assert ensemble.trained(SPEC)
    images = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        network = ensemble.build(SPEC).eval()
        alone = [trained(path).build(SPEC).eval()(images).softmax(-1) for path in (own, begun)]
        torch.testing.assert_close(network(images).softmax(-1), (alone[0] + alone[1]) / 2)
    shutil.rmtree(own / "artifacts")
    assert torch.equal(trained(begun).build(SPEC).state_dict()["0.weight"], weights(begun)["0.weight"])
    assert ensemble.untrained().build(SPEC).state_dict().keys() == network.state_dict().keys()


def test_a_method_whose_teacher_needs_no_steps_keeps_its_contract(run: Path) -> None:
    learner = {"network": SMALL, "optimizer": {"name": "sgd", "lr": 0.05}}
    settings = {
        "name": "noisy_student",
        "batch": {"labeled": 6},
        "teacher": {**learner, "network": {"name": "trained", "run": str(run)}, "steps": 0},
        "rounds": [{**learner, "steps": 2, "ratio": 2}],
        "pseudo_labels": {"select": {"threshold": 0.0}},
    }
    check_method(named("method", settings), spec=SPEC)
