"""Meshes of virtual devices give the numbers of one device, in one graph; a checkpoint of any goes on in any other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from mplframe.checkpoint.format import load
from mplframe.testing.component import flat

from .runs import RUNS, run

pytestmark = [pytest.mark.xla, pytest.mark.timeout(900)]

TOLERANCE = 1e-5
AFTER_3 = Path("checkpoints") / "step-000000003.pt"
PARTS = {
    (2, 2): ("graph", "suite", "moved", *RUNS),
    (1, 4): ("mpl", "moved"),
    (2, 8): ("mpl",),
}
"""What the program does on each mesh; `moved` goes on from a checkpoint of `single`, on 1x4 of 2x2."""


def launched(*arguments: object, devices: int, module: str = "tests.xla.program", flags: str = "") -> str:
    """What a process with so many virtual devices has written."""
    fast = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        env={
            **os.environ,
            "PJRT_DEVICE": "CPU",
            "CPU_NUM_DEVICES": str(devices),
            "XLA_FLAGS": f"{fast} {flags}",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The runs made on one device and on meshes."""
    root = tmp_path_factory.mktemp("xla")
    found = {"single": root / "single", **{f"{data}x{model}": root / f"{data}x{model}" for data, model in PARTS}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLFRAME_CACHE", str(root / "cache"))
        for name in RUNS:
            run(name, found["single"] / name, name="single", device="cpu", threads=1)
        for (data, model), parts in PARTS.items():
            one = found["2x2" if data == 1 else "single"] / "mpl" / AFTER_3
            launched(data, model, found[f"{data}x{model}"], one, *parts, devices=data * model)
    return found


def states(folder: Path) -> dict[str, dict[str, Any]]:
    """Of every checkpoint."""
    return {path.name: dict(flat(load(path)["state"])) for path in (folder / "checkpoints").glob("step-*.pt")}


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_close(a: Path, b: Path) -> None:
    """Weights, their averages, batch statistics and momenta agree, each to its greatest entry."""
    first, second = states(a), states(b)
    assert second
    assert second.keys() <= first.keys()
    for name, found in second.items():
        assert first[name].keys() == found.keys()
        for path, expected in first[name].items():
            if isinstance(expected, Tensor):
                error = (found[path].double() - expected.double()).abs().max()
                assert error <= TOLERANCE * max(1.0, float(expected.double().abs().max())), f"{name} {path}: {error}"


MADE = [(f"{data}x{model}", name) for (data, model), parts in PARTS.items() for name in parts if name in RUNS]


@pytest.mark.parametrize(("mesh", "name"), MADE)
def test_weights_are_those_of_one_device(folders: dict[str, Path], mesh: str, name: str) -> None:
    assert_close(folders["single"] / name, folders[mesh] / name)


@pytest.mark.parametrize(("mesh", "name"), MADE)
def test_losses_and_h_are_those_of_one_device(folders: dict[str, Path], mesh: str, name: str) -> None:
    first, second = (records(folder / name) for folder in (folders["single"], folders[mesh]))
    assert len(first) == len(second)
    names = {key for record in first for key in record if key.endswith(("loss", "/h", "top1"))}
    assert names
    for key in names:
        expected, found = ([record[key] for record in every if key in record] for every in (first, second))
        assert found == pytest.approx(expected, rel=0, abs=TOLERANCE * max(map(abs, expected))), key


def test_checkpoints_go_on_on_other_meshes(folders: dict[str, Path], tmp_path: Path) -> None:
    one = folders["single"] / "mpl"
    assert_close(one, folders["2x2"] / "moved")
    assert_close(one, folders["1x4"] / "moved")
    run("mpl", tmp_path, resume=folders["2x2"] / "mpl" / AFTER_3, name="single", device="cpu", threads=1)
    assert_close(one, tmp_path)
