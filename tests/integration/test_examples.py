"""Every example is valid and can be planned; those of the papers run on small data of the true layouts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mplframe
from mplframe.checkpoint.compatible import differences
from mplframe.config.load import dump, parse
from mplframe.data.packing.pack import pack_folders, pack_source

from .conftest import Cli
from .true_layouts import write_cifar10, write_imagenet, write_svhn, write_web_images

pytestmark = pytest.mark.integration

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
PAPERS = {
    # Parameters of each network: WideResNet-28-2 and ResNet-50 as MPL v4, section 3.2 counts them (1.45 and 25.5
    # million), EfficientNet-L2 as table 4 does (480 million).
    "cifar10_4k": 1_467_610,
    "svhn_1k": 1_467_610,
    "imagenet_10pct": 25_557_032,
    "imagenet_l2": 480_309_308,
}
SIZES_OF_NETWORKS = ("model", "depth", "width")


def example(name: str) -> Path:
    return next(path for path in EXAMPLES if path.stem == name)


def pack_cifar10(folder: Path, out: Path) -> None:
    write_cifar10(folder / "cifar-10-batches-py")
    pack_source(out, source=folder / "cifar-10-batches-py", labeled=10)


def pack_svhn(folder: Path, out: Path) -> None:
    write_svhn(folder / "svhn")
    pack_source(out, source=folder / "svhn", labeled=10)


def pack_imagenet_10pct(folder: Path, out: Path) -> None:
    write_imagenet(folder)
    pack_source(out, source=folder, labeled=8)


def pack_imagenet_l2(folder: Path, out: Path) -> None:
    write_imagenet(folder)
    write_web_images(folder / "web")
    pack_folders(out, labeled=folder / "train", unlabeled=folder / "web", test=folder / "val")


PACKERS: dict[str, Callable[[Path, Path], None]] = {
    "cifar10_4k": pack_cifar10,
    "svhn_1k": pack_svhn,
    "imagenet_10pct": pack_imagenet_10pct,
    "imagenet_l2": pack_imagenet_l2,
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
class TestEvery:
    def test_validates(self, path: Path, cli: Cli) -> None:
        assert cli("config", "validate", path).returncode == 0

    def test_resolved_config_reloads(self, path: Path) -> None:
        config = mplframe.load(path)
        assert mplframe.from_dict(parse(dump(config.dump()), where="the dump")) == config


def test_there_is_one_for_each_paper_setting() -> None:
    assert {*PAPERS, "quickstart", "fashion_mnist", "noisy_student", "billion_scale", "reduced_mpl"} <= {
        path.stem for path in EXAMPLES
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_plan(path: Path, cli: Cli) -> None:
    if path.stem == "transfer":
        assert cli("run", path, "--profile", "pretrain", "--set", "method.steps=2").returncode == 0
    # Memory is rehearsed by `mplframe plan` in CI, half a minute for EfficientNet-L2.
    stages = mplframe.plan(mplframe.load(path), rehearse=False).to_json()["stages"]
    assert all(stage["networks"] and stage["flops_per_step"] > 0 for stage in stages)
    taught = [stage for stage in stages if stage["name"].endswith("mpl")]
    assert all([network["role"] for network in stage["networks"]] == ["student", "teacher"] for stage in taught)
    if path.stem in PAPERS:
        assert [n["parameters"] for stage in stages for n in stage["networks"]] == [PAPERS[path.stem]] * 3


@pytest.mark.parametrize("name", PAPERS)
def test_smoke_changes_size_and_batch_alone(name: str) -> None:
    full, smoke = mplframe.load(example(name)), mplframe.load(example(name), profile="smoke")
    changed = {line.partition(":")[0] for line in differences(full.dump(), smoke.dump())}
    sizes = {"input.size", "method.batch.labeled", "method.batch.unlabeled", "method.finetune.batch"}
    networks = {f"method.{role}.network.{key}" for role in ("teacher", "student") for key in SIZES_OF_NETWORKS}
    assert changed <= sizes | networks
    assert changed & networks


@pytest.mark.parametrize("name", PAPERS)
def test_two_steps(name: str, cli: Cli, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    PACKERS[name](tmp_path / "raw", shards)
    urls = [f"--set=data.{split}={shards / split}-*.tar" for split in ("labeled", "unlabeled", "test")]
    short = [f"--set=method.{key}=2" for key in ("steps", "finetune.steps")]
    short += [f"--set=method.{role}.schedule.warmup=0" for role in ("teacher", "student")]
    ran = cli("run", example(name), "--profile", "smoke", "--out", "run", *urls, *short)
    assert ran.returncode == 0, ran.stderr
    summary: dict[str, Any] = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert {stage: set(found["networks"]) for stage, found in summary["stages"].items()} == {
        "mpl": {"student", "teacher"},
        "finetune": {"student"},
    }
    assert 0.0 <= summary["final"]["top1"] <= 1.0
    assert math.isfinite(summary["final"]["nll"])
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert any(math.isfinite(record.get("feedback/h", math.nan)) for record in records)


@pytest.mark.parametrize("name", PAPERS)
def test_without_data_one_line_says_what_to_do(name: str, cli: Cli) -> None:
    refused = cli("run", example(name), "--out", "run")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "data.labeled" in refused.stderr
    assert "mplframe data pack" in refused.stderr
