"""Every verb of the command line, as a user types it."""

from __future__ import annotations

import csv
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from mplframe.cli import main

from .conftest import Cli

pytestmark = pytest.mark.integration


def answer(cli: Cli, *words: str | Path) -> Any:
    """The JSON that a verb prints."""
    found = cli(*words, "--json")
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of a user's own: three digits with 12 labeled images each, and 60 images that nobody has labeled."""
    root = tmp_path_factory.mktemp("photos")
    digits = load_digits()
    chosen = np.flatnonzero(digits.target < 3)
    names = ("zero", "one", "two")
    seen = dict.fromkeys(names, 0)
    for number in chosen[:200]:
        name = names[digits.target[number]]
        image = Image.fromarray((digits.images[number] * 255 / 16).astype(np.uint8)).resize((16, 16))
        folder = root / "labeled" / name if seen[name] < 12 else root / "rest"
        seen[name] += 1
        folder.mkdir(parents=True, exist_ok=True)
        image.convert("RGB").save(folder / f"{number}.jpg", quality=95)
    return root


OWN = """
data:
  name: webdataset
  labeled: 'shards/labeled-*.tar'
  unlabeled: 'shards/unlabeled-*.tar'
  test: 'shards/test-*.tar'
  classes: shards/classes.txt
input: {size: 16, weak: [{name: flip}], strong: [{name: randaugment}, {name: cutout, size: 4}]}
method:
  name: mpl
  steps: 20
  batch: {labeled: 8, unlabeled: 16}
  teacher: {network: {name: small_cnn, channels: 8}, optimizer: {name: sgd, lr: 0.05}}
  student: {network: {name: small_cnn, channels: 8}, optimizer: {name: sgd, lr: 0.05}}
"""


def test_from_two_folders_to_predictions(cli: Cli, photos: Path, tmp_path: Path) -> None:
    report = answer(
        cli, "data", "pack", "shards", "--labeled", photos / "labeled", "--unlabeled", photos / "rest", "--test", "0.25"
    )
    assert report["classes"] == ["one", "two", "zero"]
    assert report["samples"]["labeled"] == 27
    assert report["samples"]["test"] == 9
    held = answer(cli, "data", "inspect", "shards", "--sheet", "sheet.png")
    assert held["splits"]["labeled"]["class_counts"] == {"one": 9, "two": 9, "zero": 9}
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 200
    assert cli("data", "verify", "shards").returncode == 0

    (tmp_path / "own.yaml").write_text(OWN)
    summary = answer(cli, "run", "own.yaml", "--out", "run")
    folder = tmp_path / "run"
    assert 0 <= summary["final"]["top1"] <= 1
    assert summary == json.loads((folder / "summary.json").read_text())
    assert summary["images"] == 20 * 24
    assert {p.name for p in folder.iterdir()} >= {
        "config.yaml",
        "manifest.json",
        "metrics.jsonl",
        "curves.png",
        "tensorboard",
    }
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["data"]
    assert manifest["versions"]["torch"]

    assert answer(cli, "eval", "run")["networks"]["student"]["top1"] == summary["final"]["top1"]
    best = answer(cli, "eval", "run", "--checkpoint", "best")
    assert (best["stage"], best["split"]) == ("mpl", "test")
    assert (best["chosen"]["split"], best["chosen"]["role"]) == ("holdout", "student")
    assert summary["best"] == best["chosen"]
    own = answer(cli, "eval", "run", photos / "labeled", "--role", "student")["networks"]
    assert (list(own), own["student"]["n"]) == (["student"], 36)
    low, high = own["student"]["top1_interval"]
    assert 0 <= low <= own["student"]["top1"] <= high <= 1

    assert answer(cli, "predict", "run", photos / "rest", "--out", "rest.csv")["samples"] == sum(
        1 for _ in (photos / "rest").iterdir()
    )
    with (tmp_path / "rest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["key"] for row in rows} == {path.name for path in (photos / "rest").iterdir()}
    assert {row["class"] for row in rows} <= {"one", "two", "zero"}
    for row in rows:
        shares = [float(row[f"p_{name}"]) for name in ("one", "two", "zero")]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert float(row["probability"]) == max(shares)
    answer(cli, "predict", "run", "shards/test-*.tar", "--out", "test.parquet", "--role", "teacher")
    assert pq.read_table(tmp_path / "test.parquet").num_rows == 9


def test_records_say_where_they_belong(cli: Cli, small: Path, tmp_path: Path) -> None:
    summary = answer(cli, "run", small, "--out", "out")
    records = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert {(r["stage"], r["split"]) for r in records} == {
        *((s, p) for s in ("supervised", "mpl", "finetune") for p in ("train", "test")),
        ("mpl", "holdout"),
        ("finetune", "holdout"),
    }
    assert [r["total"] for r in records] == sorted(r["total"] for r in records)
    alone = answer(cli, "eval", "out", "--role", "supervised")
    assert alone["networks"] == {"supervised": summary["baselines"]["supervised"]}
    wrong = cli("eval", "out", "--role", "supervisd")
    assert wrong.returncode == 2
    assert "(the run has: student, supervised, teacher)" in " ".join(wrong.stderr.split())
    mpl = next(r for r in records if r["stage"] == "mpl" and r["split"] == "train")
    assert {
        "student/loss",
        "teacher/loss",
        "teacher/uda",
        "feedback/h",
        "teacher/label_agreement",
        "student/lr",
    } <= mpl.keys()
    last = [r for r in records if r["stage"] == "finetune" and r["split"] == "test"][-1]
    assert last["student/top1"] == summary["final"]["top1"]
    assert summary["baselines"]["supervised"]["top1"] is not None


def test_plan_touches_no_data(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN.replace("shards/classes.txt", "3"))
    cost = answer(cli, "plan", "own.yaml")
    (stage,) = cost["stages"]
    assert stage["images"] == 20 * 24
    assert {network["role"] for network in stage["networks"]} == {"student", "teacher"}


def test_config_show_reads_back(cli: Cli, small: Path, tmp_path: Path) -> None:
    shown = cli("config", "show", small, "--set", "method.feedback=off")
    (tmp_path / "shown.yaml").write_text(shown.stdout)
    again = cli("config", "show", "shown.yaml")
    assert again.stdout == shown.stdout
    assert "name: 'off'" in shown.stdout


def test_a_partial_component_takes_the_default_name(cli: Cli, small: Path) -> None:
    assert answer(cli, "config", "show", small, "--set", "backend.precision=bf16")["backend"]["name"] == "single"


def test_plugins_list_shows_origins(cli: Cli) -> None:
    listing = answer(cli, "plugins", "list", "--kind", "feedback")
    assert {component["kind"] for component in listing["components"]} == {"feedback"}
    own = {c["name"] for c in listing["components"] if c["origin"] == "mplframe"}
    assert {"baseline", "cosine", "dot", "off"} <= own
    assert cli("plugins", "list", "--kind", "feedbak").returncode == 2


def test_help_is_fast_and_imports_no_torch(command: list[str], environment: dict[str, str]) -> None:
    best = 1e9
    for _ in range(5):
        start = time.perf_counter()
        found = subprocess.run([*command, "--help"], env=environment, capture_output=True, text=True, check=True)
        best = min(best, time.perf_counter() - start)
    assert "Meta Pseudo Labels" in found.stdout
    assert best < 0.5
    code = "import sys, mplframe, mplframe.cli; sys.exit('torch' in sys.modules)"
    subprocess.run([command[0], "-c", code], env=environment, check=True)


@pytest.mark.parametrize(
    "words",
    [
        "run",
        "plan",
        "eval",
        "predict",
        "export",
        "config show",
        "config validate",
        "config schema",
        "data pack",
        "data index",
        "data inspect",
        "data preview",
        "data split",
        "data verify",
        "label",
        "select",
        "duplicates",
        "sweep",
        "transfer",
        "plugins list",
        "plugins doctor",
    ],
)
def test_every_verb_has_help_and_an_example(cli: Cli, words: str) -> None:
    shown = cli(*words.split(), "--help")
    assert shown.returncode == 0
    assert f"Example: mplframe {words}" in " ".join(shown.stdout.split())


def test_main_is_the_console_script() -> None:
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="mplframe")
    assert script.load() is main
