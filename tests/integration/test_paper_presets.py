"""Presets of the papers: each resolves, carries the numbers that it cites, says what it is, and can be planned."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mplframe
from mplframe.config.load import dump, parse, read
from mplframe.config.run import RunConfig
from mplframe.data.packing.pack import pack_folders, pack_source
from mplframe.errors import ConfigError
from mplframe.planning.cost import PlanCost

from .conftest import Cli
from .scripts import load_script
from .true_layouts import write_cifar10, write_imagenet, write_svhn, write_web_images

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


script = load_script(ROOT / "docs" / "make_hyperparameters.py")
PRESETS: list[Path] = script.presets()
BASES = sorted((script.PRESETS / "_bases").glob("*.yaml"))
NUMBERS = [n for table in script.tables() for row in table.rows for n in row.numbers if n is not None]
FULL_SIZES = {
    # Parameters of the networks of each stage in turn: WideResNet-28-2, ResNet-50, the default teacher of Billion-scale
    # (829 M in its table 3) and its student.
    "mpl/table2_svhn_1k_uda": [[1_467_610]],
    "mpl/table3_resnet50_mpl": [[25_557_032] * 2, [25_557_032]],
    "billion_scale/table2_resnet50": [[828_411_176], [25_557_032], [25_557_032]],
}
METHODS = ("supervised", "pseudo_label", "uda", "mpl", "reduced_mpl", "noisy_student", "billion_scale")
SHARDS = {
    "mpl/table6_svhn_1k_pseudo_labels": "svhn_1k",
    "mpl_v1/table3_cifar10_4k": "cifar10_first4k",
    "mpl/table11_cifar10_reduced_mpl": "cifar10_46k",
    "billion_scale/table9_100m_p3": "imagenet_yfcc",
    "noisy_student/section3_1_three_iterations": "imagenet_jft",
}


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def uncited(path: Path) -> Iterator[str]:
    """Lines of the method's settings that have a number, and no comment beside them or right above."""
    section, above = "", ""
    for line in path.read_text().splitlines():
        if re.match(r"\w", line):
            section = line.partition(":")[0]
        setting, _, comment = line.partition("#")
        cited = comment or above.lstrip().startswith("#")
        if section == "method" and re.search(r"(?<![\w.])\d[\d.]*(?![\w.]*[a-z])", setting) and not cited:
            yield line
        above = line


def test_the_page_is_up_to_date() -> None:
    assert script.PAGE.read_text() == script.page(), "run python docs/make_hyperparameters.py"


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: f"{n.preset}:{n.setting}")
def test_a_preset_carries_the_papers_number(number: Any) -> None:
    assert number.agrees, f"{number.place}, {number.what}: {number.value}; the preset has {number.configured}"


@pytest.fixture(scope="module")
def plan() -> Callable[[RunConfig], PlanCost]:
    """`mplframe.plan`, once for presets that differ in nothing that a plan looks at."""
    made: dict[str, PlanCost] = {}

    def planned(config: RunConfig) -> PlanCost:
        key = repr((config.method, config.input))
        if key not in made:
            made[key] = mplframe.plan(config, rehearse=False)
        return made[key]

    return planned


@pytest.mark.parametrize("path", PRESETS, ids=name)
class TestEvery:
    def test_resolved_config_reloads(self, path: Path) -> None:
        config = mplframe.load(path)
        assert mplframe.from_dict(parse(dump(config.dump()), where="the dump")) == config

    def test_says_what_it_is(self, path: Path) -> None:
        entries = script.header(path)
        assert entries.keys() == {"title", *script.ENTRIES}
        assert entries["Command"] == f"mplframe run {path.relative_to(ROOT).as_posix()}"
        assert re.match(r"[^()]+ \([^()]*arXiv:[\d.]+[^()]*\), (table|section) [^:]+: .", entries["title"])

    def test_smoke_takes_two_steps_of_a_few_small_images(
        self, path: Path, plan: Callable[[RunConfig], PlanCost]
    ) -> None:
        config = mplframe.load(path, profile="smoke")
        assert config.input.size == 32
        stages = plan(config).stages
        assert stages
        for stage in stages:
            assert stage.steps == 2
            assert stage.images_per_step <= 36
            assert all(network.parameters < 12e6 for network in stage.networks)


def numbers(config: Any, key: str) -> Iterator[int]:
    """What stands at keys of this name, and below them, at any depth."""
    for name, value in config.items() if isinstance(config, dict) else enumerate(config):
        if name == key:
            yield from (n for n in (value.values() if isinstance(value, dict) else [value]) if n is not None)
        elif isinstance(value, dict | list):
            yield from numbers(value, key)


def test_minis_are_of_fashion_mnist_and_small_throughout() -> None:
    minis: dict[str, RunConfig] = {}
    for path in filter(script.has_mini, PRESETS):
        raw = read(path, profile="mini")
        known = repr((raw["method"], raw["data"], raw["input"]))
        if known not in minis:
            minis[known] = mplframe.load(path, profile="mini")
    assert {config.method.name for config in minis.values()} >= set(METHODS)
    for config in minis.values():
        assert (config.data.name, config.input.channels) == ("fashion_mnist", 1)
        method = config.method.dump()
        assert max(numbers(method, "steps")) <= 600, config
        assert max(numbers(method, "batch")) <= 256, config


@pytest.mark.parametrize("preset", ["mpl/table9_svhn_1k_mpl", "billion_scale/table6_semi_weakly_resnet50"])
def test_what_fashion_mnist_has_nothing_for_has_no_mini(preset: str) -> None:
    with pytest.raises(ConfigError, match="has no profile 'mini'"):
        mplframe.load(script.PRESETS / f"{preset}.yaml", profile="mini")


@pytest.mark.parametrize("path", [*PRESETS, *BASES], ids=name)
def test_every_number_has_its_source(path: Path) -> None:
    assert not list(uncited(path))


@pytest.mark.parametrize("preset", FULL_SIZES)
def test_plan_of_the_full_size(preset: str) -> None:
    stages = mplframe.plan(mplframe.load(script.PRESETS / f"{preset}.yaml"), rehearse=False).stages
    assert [[network.parameters for network in stage.networks] for stage in stages] == FULL_SIZES[preset]


def pack(name: str, raw: Path, out: Path) -> None:
    """A few images in the layout that the shards of this name are made of."""
    if name.startswith("cifar10"):
        write_cifar10(raw)
        pack_source(out, source=raw, labeled=10)
    elif name.startswith("svhn"):
        write_svhn(raw)
        pack_source(out, source=raw, labeled=10)
    else:
        write_imagenet(raw)
        write_web_images(raw / "web")
        pack_folders(out, labeled=raw / "train", unlabeled=raw / "web", test=raw / "val")


@pytest.mark.parametrize("preset", SHARDS)
def test_smoke_runs_on_shards_in_their_usual_place(preset: str, cli: Cli, tmp_path: Path) -> None:
    pack(SHARDS[preset], tmp_path / "raw", tmp_path / "shards" / SHARDS[preset])
    if preset == "mpl/table11_cifar10_reduced_mpl":
        (tmp_path / "shards" / "tiny_images").symlink_to(tmp_path / "shards" / SHARDS[preset])
    ran = cli("run", script.PRESETS / f"{preset}.yaml", "--profile", "smoke", "--out", "run")
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "run" / "summary.json").exists()
