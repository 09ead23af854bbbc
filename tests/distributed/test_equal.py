"""Two processes give the numbers of one, with ddp and with fsdp; a checkpoint of any goes on in the others, and after
they were killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mplframe.api import evaluate
from mplframe.checkpoint.format import load
from mplframe.testing.component import flat

from .killing import killed_while_writing
from .launching import launched
from .runs import ON_BACKENDS, RUNS, run

pytestmark = pytest.mark.integration

PROGRAM = Path(__file__).with_name("program.py")
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The runs made in one process, and in two."""
    root = tmp_path_factory.mktemp("equal")
    one, two = root / "one", root / "two"
    two.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLFRAME_CACHE", str(root / "cache"))
        patch.setenv("PYTHONPATH", str(PROGRAM.parents[2]))
        for name in RUNS:
            run(name, one / name, backend="single")
        killed_while_writing("exact", two / "killed")
        with launched(root, PROGRAM, two, one) as launch:
            assert launch.wait(280) == 0, launch.said
            assert launch.alive() == []
        yield one, two


def checkpoint(folder: Path) -> dict[str, Any]:
    return load(max((folder / "checkpoints").glob("step-*.pt")))


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_close(a: Path, b: Path) -> None:
    """Weights, their averages, batch statistics and momenta agree, each to its greatest entry."""
    first, second = (dict(flat(checkpoint(folder)["state"])) for folder in (a, b))
    assert first.keys() == second.keys()
    for path, expected in first.items():
        if isinstance(expected, Tensor):
            error = (second[path].double() - expected.double()).abs().max()
            assert error <= TOLERANCE * expected.double().abs().max(), f"{path}: {error}"


@pytest.mark.parametrize(("name", "backend"), ON_BACKENDS)
def test_weights_are_those_of_one_process(folders: tuple[Path, Path], name: str, backend: str) -> None:
    one, two = folders
    assert_close(one / name, two / backend / name)


@pytest.mark.parametrize(("name", "backend"), ON_BACKENDS)
def test_losses_and_h_are_those_of_one_process(folders: tuple[Path, Path], name: str, backend: str) -> None:
    first, second = records(folders[0] / name), records(folders[1] / backend / name)
    assert len(first) == len(second)
    names = {key for record in first for key in record if key.endswith(("loss", "/h"))}
    assert names
    for key in names:
        expected, found = ([record[key] for record in found if key in record] for found in (first, second))
        scale = max(map(abs, expected))
        assert found == pytest.approx(expected, rel=0, abs=TOLERANCE * scale), key


@pytest.mark.parametrize(("name", "backend"), ON_BACKENDS)
def test_summaries_count_the_samples_of_all_processes(folders: tuple[Path, Path], name: str, backend: str) -> None:
    one, two = folders
    first, second = (json.loads((folder / "summary.json").read_text()) for folder in (one / name, two / backend / name))
    assert first["images"] == second["images"]
    assert second["final"]["top1"] == pytest.approx(first["final"]["top1"], abs=0.01)
    if name in ("noisy_student", "reduced_mpl", "billion_scale"):
        tasks = {stage for stage in first["stages"] if stage.startswith(("label", "select"))}
        assert len(tasks) == 2
        for task in tasks:
            a, b = ({k: v for k, v in found["stages"][task].items() if k != "seconds"} for found in (first, second))
            assert a == b


@pytest.mark.parametrize(("name", "moved"), [("cosine", "one-ddp"), ("exact", "one-fsdp"), ("exact", "fsdp-ddp")])
def test_a_checkpoint_goes_on_in_two_processes(folders: tuple[Path, Path], name: str, moved: str) -> None:
    one, two = folders
    assert_close(one / name, two / "moved" / moved)


@pytest.mark.parametrize("backend", ["ddp", "fsdp"])
def test_a_checkpoint_of_two_processes_goes_on_in_one(folders: tuple[Path, Path], tmp_path: Path, backend: str) -> None:
    one, two = folders
    begun = two / backend / "exact" / "checkpoints" / "step-000000003.pt"
    run("exact", tmp_path, backend="single", resume=str(begun))
    assert_close(one / "exact", tmp_path)


@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_one_process_judges_what_two_have_trained(folders: tuple[Path, Path], checkpoint: str) -> None:
    folder = folders[1] / "fsdp" / "exact"
    judged = evaluate(folder, checkpoint=checkpoint)
    summary = json.loads((folder / "summary.json").read_text())
    assert judged["networks"]["student"]["top1"] == pytest.approx(summary["final"]["top1"], abs=0.002)


def test_killed_while_it_writes_a_run_goes_on_as_if_it_had_not_been(folders: tuple[Path, Path]) -> None:
    undisturbed, killed = folders[1] / "fsdp" / "exact", folders[1] / "killed"
    expected, found = (dict(flat(checkpoint(folder)["state"])) for folder in (undisturbed, killed))
    assert expected.keys() == found.keys()
    for path, value in expected.items():
        assert torch.equal(found[path], value) if isinstance(value, Tensor) else found[path] == value, path
    for a, b in zip(records(undisturbed), records(killed), strict=True):
        assert {**a, "timing": None} == {**b, "timing": None}
