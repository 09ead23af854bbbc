"""Meshes of virtual devices give the numbers of one device, in one graph; a checkpoint of any goes on in any other, and
in processes that hold shards."""

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
from mplframe.config.load import dump
from mplframe.testing.component import flat
from tests.distributed.launching import launched as launched_in_two

from .runs import RUNS, config, run

pytestmark = [pytest.mark.xla, pytest.mark.timeout(900)]

ROOT = str(Path(__file__).parents[2])
TOLERANCE = 1e-5
AFTER_2, AFTER_4 = (Path("checkpoints") / f"step-00000000{total}.pt" for total in (2, 4))
PARTS = {
    "2x2": ("graph", "suite", "moved", *RUNS),
    "1x4": ("mpl", "moved"),
    "2x8": ("mpl",),
}
"""What the program does on each mesh, replicas x devices of a replica."""


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
            "PYTHONPATH": ROOT,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def on_mesh(mesh: str, out: Path, begun: Path) -> None:
    """Do its parts; `moved` goes on from a checkpoint."""
    data, model = map(int, mesh.split("x"))
    launched(data, model, out, begun, *PARTS[mesh], devices=data * model)


def in_two_processes(out: Path, begun: Path) -> None:
    """Go on from a checkpoint of `mpl` with `fsdp`, by the command."""
    settings = out.with_suffix(".yaml")
    settings.write_text(dump(config("mpl", name="fsdp", device="cpu", unit_parameters=0).dump()))
    with launched_in_two(out.parent, "-m", "mplframe", "run", settings, "--out", out, "--resume", begun) as launch:
        assert launch.wait(200) == 0, launch.said


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The runs made on one device, on meshes, and in two processes; 2x2 goes on from `single`, `fsdp` from 2x2 and 1x4
    from `fsdp`."""
    root = tmp_path_factory.mktemp("xla")
    found = {name: root / name for name in ("single", "fsdp", *PARTS)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLFRAME_CACHE", str(root / "cache"))
        patch.setenv("PYTHONPATH", ROOT)
        for name in RUNS:
            run(name, found["single"] / name, name="single", device="cpu", threads=1)
        on_mesh("2x2", found["2x2"], found["single"] / "mpl" / AFTER_2)
        in_two_processes(found["fsdp"], found["2x2"] / "mpl" / AFTER_2)
        on_mesh("1x4", found["1x4"], found["fsdp"] / AFTER_4)
        on_mesh("2x8", found["2x8"], found["single"])
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


MADE = [(mesh, name) for mesh, parts in PARTS.items() for name in parts if name in RUNS]


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


def test_checkpoints_go_on_elsewhere(folders: dict[str, Path], tmp_path: Path) -> None:
    one = folders["single"] / "mpl"
    assert list((folders["fsdp"] / "checkpoints").glob("step-000000004-*.shards"))
    for moved in (folders["2x2"] / "moved", folders["fsdp"], folders["1x4"] / "moved"):
        assert_close(one, moved)
    run("mpl", tmp_path, resume=folders["1x4"] / "mpl" / AFTER_2, name="single", device="cpu", threads=1)
    assert_close(one, tmp_path)
