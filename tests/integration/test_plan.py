"""What `mplframe plan` says of memory, against real steps and against itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from rich.console import Console

import mplframe
from mplframe.config.base import ComponentConfig
from mplframe.contracts.feedback import FeedbackEstimator
from mplframe.hooks import hookimpl
from mplframe.planning.devices import find_devices
from mplframe.plugins import discover
from mplframe.report.plan import plan_table

from .conftest import Cli
from .scripts import load_script

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


script = load_script(ROOT / "benchmarks" / "plan_memory.py")


@pytest.mark.parametrize(
    ("method", "precision"), [("mpl cosine accumulate=2", "fp32"), ("mpl exact", "bf16"), ("uda", "bf16")]
)
def test_planned_memory_is_within_15_percent_of_a_real_step(method: str, precision: str) -> None:
    config = script.config_of("small_cnn", method, precision)
    assert script.planned(config) == pytest.approx(script.measured(config), rel=0.15)


def test_published_results_are_within_15_percent() -> None:
    results = json.loads((ROOT / "benchmarks" / "results" / "plan_memory.json").read_text())["results"]
    assert {row["network"] for row in results} == set(script.NETWORKS)
    assert all(row["ratio"] == pytest.approx(1, abs=0.15) for row in results)


def small(batch: int, **backend: Any) -> Any:
    learner = {"network": {"name": "resnet18"}, "optimizer": {"name": "adamw", "lr": 0.01}, "ema": 0.99}
    return mplframe.from_dict(
        {
            "method": {
                "name": "mpl", "steps": 1, "batch": {"labeled": batch, "unlabeled": 2 * batch}, "teacher": learner,
                "student": learner, "finetune": {"steps": 1, "batch": batch},
            },
            "data": {"name": "digits"},
            "input": {"size": 32, "channels": 3},
            "backend": {"name": "single", "device": "cpu", **backend},
        }
    )  # fmt: skip


def planned(config: Any, **options: Any) -> list[Any]:
    return list(mplframe.plan(config, **options).stages)


def test_devices_that_share_a_batch_take_what_one_takes_with_its_share() -> None:
    whole = planned(small(16), devices=find_devices("tpu-v4:4"))
    part = planned(small(4))
    assert [stage.estimated for stage in whole + part] == [""] * 4
    for mine, alone in zip(whole, part, strict=True):
        assert mine.on_device.peak_bytes == pytest.approx(alone.peak_bytes, rel=1e-3)
        assert mine.on_device.peak_bytes < mine.peak_bytes


def test_what_does_not_fit_and_what_would(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(json.dumps(small(128).dump()))
    words = ("--device", "l4:2", "--memory", "600MiB", "--utilisation", "0.2")
    found = json.loads(cli("plan", "own.yaml", *words, "--json").stdout)
    assert found["devices"]["utilisation"] == 0.2
    mpl = found["stages"][0]["on_device"]
    assert not mpl["fits"]
    assert mpl["days"] == pytest.approx(found["stages"][0]["flops"] / (2 * 0.2 * 60e12) / 86_400)
    by_change = {remedy["change"].partition("=")[0]: remedy for remedy in mpl["remedies"]}
    assert {"precision", "accumulate", "backend fsdp, recompute"} <= by_change.keys()
    assert by_change["backend fsdp, recompute"]["peak_bytes"] < by_change["precision"]["peak_bytes"] < mpl["peak_bytes"]
    with (console := Console(width=200)).capture() as text:
        console.print(plan_table(found))
    assert "2 x l4" in text.get()
    assert "days at 20% of its tf32 peak of 60 TFLOP/s" in text.get()
    refused = cli("plan", "own.yaml", "--device", "h20")
    assert refused.returncode == 2
    assert "did you mean 'h200'" in refused.stderr


class Reading(FeedbackEstimator):
    """Reads a number on the host, which no step may do."""

    requires = frozenset({"displacement"})

    class Config(ComponentConfig):
        name: Literal["reading"] = "reading"

    def __init__(self, config: Any = None) -> None:
        self.config = config

    def estimate(self, step: Any) -> None:
        step.labeled_gradient()[0].sum().item()


class Plugin:
    """Registers it."""

    @staticmethod
    @hookimpl
    def mplframe_feedback() -> dict[str, type]:
        return {"reading": Reading}


def test_a_stage_that_cannot_be_rehearsed_is_estimated_and_says_so() -> None:
    installed = discover(extra=[("reading", Plugin())])
    raw = small(4).dump()
    raw["method"]["feedback"] = {"name": "reading"}
    stage, finetune = planned(mplframe.from_dict(raw, installed=installed), installed=installed)
    assert "item()" in stage.estimated
    assert stage.peak_bytes > stage.activation_bytes > 0
    assert finetune.estimated == ""
