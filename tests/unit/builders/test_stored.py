"""A run folder may be a stranger's: nothing that it names outside itself is touched, unless the user says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mplframe import api
from mplframe.builders import Maker
from mplframe.builders.from_run import finished_network
from mplframe.errors import CheckpointError, UserError

CONFIG = {
    "data": {"name": "digits"},
    "input": {"size": 8, "channels": 1, "weak": [], "strong": []},
    "method": {
        "name": "supervised",
        "steps": 1,
        "batch": 4,
        "student": {"network": "mlp", "optimizer": {"name": "sgd", "lr": 0.05}},
    },
    "backend": {"name": "single", "threads": 1, "device": "cpu"},
    "trackers": ["jsonl"],
}
CALLED: list[str] = []


def samples() -> list[Any]:
    """What a stranger would have called."""
    CALLED.append("called")
    return []


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stored") / "run"
    api.run(api.from_dict(CONFIG), out=out)
    return out


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPLFRAME_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    CALLED.clear()
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def edited(run: Path, **sections: Any) -> Path:
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, **sections}))
    return run


FUNCTION = {"name": "pipeline", "labeled": f"{__name__}:samples", "test": f"{__name__}:samples", "classes": 10}
SHARDS = {"name": "webdataset", "labeled": "/data/x-*.tar", "classes": 10}


@pytest.mark.parametrize(
    "data",
    [
        FUNCTION,
        {**SHARDS, "test": "s3://bucket/test.tar"},
        {**SHARDS, "test": "../secret.tar"},
        {**SHARDS, "test": ["~/secret.tar"]},
        {**SHARDS, "test": "test.tar", "storage_options": {"endpoint_url": "x"}},
        {**SHARDS, "test": "test.tar", "cache": "/etc"},
    ],
)
def test_data_that_a_stranger_names_are_not_opened(run: Path, data: dict[str, Any]) -> None:
    edited(run, data=data)
    with pytest.raises(UserError, match=r"config\.yaml leads out of its folder.*data\.\w+.*--set.*--trust") as said:
        api.evaluate(run)
    assert "endpoint_url" not in str(said.value)
    assert not CALLED
    # What only takes the network doesn't need them.
    assert api.export(run, run / "x.pt2")["classes"] == [str(n) for n in range(10)]
    assert not CALLED


def test_trust_is_the_users_to_give(run: Path) -> None:
    edited(run, data=FUNCTION)
    with pytest.raises(UserError, match="returned no samples"):
        api.evaluate(run, trust=True)
    assert CALLED
    CALLED.clear()
    with pytest.raises(UserError, match="returned no samples"):
        api.evaluate(run, overrides=[f"data.test={__name__}:samples"])
    assert CALLED


def test_a_setting_of_the_users_excuses_no_other(run: Path) -> None:
    edited(run, data={**SHARDS, "storage_options": {"key": "secret"}})
    with pytest.raises(UserError, match=r"data\.storage_options=\.\.\.") as said:
        api.evaluate(run, overrides=["data.test=test.tar"])
    assert "secret" not in str(said.value)
    assert "data.labeled" not in str(said.value), "it isn't opened"


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("manifest", "/etc/passwd"),
        ("trackers", [{"name": "jsonl"}, {"name": "tensorboard"}, "http://x"]),
        ("base", "/etc/passwd"),
    ],
)
def test_nothing_else_leads_out_either(run: Path, section: str, value: Any) -> None:
    edited(run, **{section: value})
    with pytest.raises(UserError, match=r"leads out of its folder|names a base file|isn't valid"):
        api.export(run, run / "x.pt2")


def test_weights_of_another_place_are_not_read(run: Path, made: Path) -> None:
    network = {"name": "trained", "run": str(made)}
    student = {"network": network, "optimizer": {"name": "sgd", "lr": 0.05}}
    edited(run, method={**CONFIG["method"], "student": student})  # type: ignore[dict-item]
    make = Maker(api.components())
    for use in (lambda: api.export(run, run / "x.pt2"), lambda: finished_network(str(run), None, make)):
        with pytest.raises(UserError, match=r"method\.student\.network\.run"):
            use()
    # The settings of the run beyond are a stranger's too, and harmless.
    assert finished_network(str(run), None, make, trust=True).role == "student"


def test_ones_own_run_is_taken_at_its_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLFRAME_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    api.run(api.from_dict({**CONFIG, "data": {"name": "digits", "cache": str(tmp_path / "data")}}), out="run")
    assert api.evaluate("run")["networks"]
    config = tmp_path / "run/config.yaml"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(UserError, match=r"wasn't written by a run of yours: data\.cache="):
        api.evaluate("run")
    assert api.evaluate("run", trust=True)["networks"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_text(json.dumps({"classes": "ten"})),
        lambda path: path.write_text(json.dumps({"classes": [1, 2]})),
        lambda path: path.write_bytes(b"\xff"),
    ],
)
def test_a_run_that_does_not_say_its_classes_is_refused(run: Path, damage: Callable[[Path], object]) -> None:
    damage(run / "manifest.json")
    with pytest.raises(CheckpointError, match="nobody knows the classes"):
        api.export(run, run / "x.pt2")
