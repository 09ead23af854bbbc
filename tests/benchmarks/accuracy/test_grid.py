"""The grids that are kept: every variant is a valid config, and what they claim to have in common they have."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

import mplframe
from benchmarks.accuracy.grid import Cell, installed, split_seeds, variants
from mplframe.errors import UserError
from mplframe.plugins import Components

GRIDS = sorted((Path(__file__).parents[3] / "benchmarks" / "accuracy").glob("*.yaml"))
EXAMPLES = Path(__file__).parents[3] / "examples"
CELLS = [pytest.param(path, name, id=f"{path.stem}-{name}") for path in GRIDS for name in variants(path)]


@cache
def found() -> Components:
    return installed()


def config(path: Path, variant: str, seed: int = 3) -> Any:
    return Cell(path, variant, seed, (), Path("unused")).config(found())


@pytest.mark.parametrize(("path", "variant"), CELLS)
def test_a_variant_can_be_planned_and_its_seed_is_that_of_its_data(path: Path, variant: str) -> None:
    made = config(path, variant)
    assert made.seed == 3
    assert f"'split_seed': {made.seed}" in str(made.data.dump())
    assert mplframe.plan(made, installed=found()).stages


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_variants_differ_in_the_method_alone(path: Path) -> None:
    dumps = [config(path, name).dump() for name in variants(path)]
    for dump in dumps:
        for own in ("method", "baselines"):
            dump.pop(own)
    assert all(dump == dumps[0] for dump in dumps)


DROPOUT, HALVINGS = 0.2, 13
"""What belongs to a method: Noisy Student's noise, and the schedule that Billion-scale pre-trains its student with."""


def trainings(method: dict[str, Any]) -> list[dict[str, Any]]:
    """Every network that takes images: what it is and how it is trained."""
    learners = [method[role] for role in ("large", "teacher", "student") if role in method]
    learners += method["rounds"] if method["name"] == "noisy_student" else []
    found = [
        {**learner, "steps": learner.get("steps") or method["steps"]}
        for learner in learners
        if learner["network"]["name"] != "calibration_mlp"
    ]
    return [{key: one[key] for key in ("steps", "network", "optimizer", "schedule", "clip", "ema")} for one in found]


@pytest.mark.parametrize("path", [p for p in GRIDS if p.stem != "quickstart"], ids=lambda path: path.stem)
def test_every_network_is_trained_alike(path: Path) -> None:
    """The same steps, network, optimizer, schedule and average, whatever the method."""
    (usual,) = trainings(config(path, "supervised").method.dump())
    for name in variants(path):
        method = config(path, name).method.dump()
        for training in trainings(method):
            if method["name"] == "noisy_student":
                assert training["network"]["dropout"] == DROPOUT
                training["network"]["dropout"] = usual["network"]["dropout"]
            if method["name"] == "billion_scale" and training["schedule"].get("count") == HALVINGS:
                training["schedule"] = usual["schedule"]
            assert training == usual, name


def test_the_quickstart_is_the_example_itself() -> None:
    own = config(GRIDS[[path.stem for path in GRIDS].index("quickstart")], "mpl").dump()
    example = mplframe.load(EXAMPLES / "quickstart.yaml", overrides=["seed=3", "data.split_seed=3"]).dump()
    for key in ("out", "trackers"):
        own.pop(key)
        example.pop(key)
    assert own == example


def test_profiles_of_a_base_are_variants_too(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("profiles: {one: {}, gone: {}, two: {}}")
    (tmp_path / "grid.yaml").write_text("base: base.yaml\nprofiles: {three: {}, one: {}, gone: null}")
    assert variants(tmp_path / "grid.yaml") == ["one", "two", "three"]
    assert variants(tmp_path / "grid.yaml", ["three", "two"]) == ["three", "two"]


def test_variants_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no variant 'exakt'; did you mean 'exact'"):
        variants(GRIDS[[path.stem for path in GRIDS].index("digits40")], ["exakt"])
    (tmp_path / "none.yaml").write_text("seed: 1")
    with pytest.raises(UserError, match=r"none\.yaml has no `profiles`"):
        variants(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="no config file"):
        variants(tmp_path / "missing.yaml")


def test_split_seeds_are_found_at_any_depth() -> None:
    data = {"name": "a", "split_seed": 0, "source": {"name": "b", "split_seed": 0, "labels": [1]}}
    assert list(split_seeds(data, "data")) == ["data.split_seed", "data.source.split_seed"]
