"""Teachers that have learned before, and labels that were made before, through the real command."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mplframe.config.load import dump

from .conftest import Cli
from .test_resume import metrics

pytestmark = pytest.mark.integration

SMALL: dict[str, Any] = {
    "network": {"name": "small_cnn", "channels": 4, "blocks": 2},
    "optimizer": {"name": "sgd", "lr": 0.05},
}
GIVEN: dict[str, Any] = {**SMALL, "network": {"name": "trained", "run": "teacher"}, "steps": 0}
STAGE: dict[str, Any] = {**SMALL, "steps": 3}
SOFT: dict[str, Any] = {"select": {"threshold": 0.0}}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "noisy_student": ("teacher", {
        "batch": {"labeled": 4}, "teacher": GIVEN, "pseudo_labels": {**SOFT, "exclude_labeled": True},
        "rounds": [{**STAGE, "ratio": 5, "size": 12}, {**STAGE, "ratio": 2}],
    }),
    "billion_scale": ("teacher", {
        "teacher": GIVEN, "student": {**STAGE, "batch": 8, "size": 12}, "finetune": {"steps": 2, "batch": 8},
        "pseudo_labels": {"labels": "hard", "select": {"top_k": 9}},
    }),
    "pseudo_label": ("teacher", {
        "steps": 3, "batch": {"labeled": 4, "unlabeled": 8}, "teacher": GIVEN, "student": SMALL,
    }),
    "reduced_mpl": ("large", {
        "steps": 3, "batch": {"labeled": 4, "unlabeled": 8}, "large": GIVEN, "student": SMALL, "feedback": "off",
    }),
}  # fmt: skip


def written(path: Path, method: dict[str, Any], **more: Any) -> Path:
    settings = {
        "data": {"name": "digits"},
        "input": {"size": 8, "channels": 1},
        "method": method,
        "backend": {"name": "single", "device": "cpu", "threads": 1},
        "trackers": ["jsonl"],
        "log_every": 1,
        **more,
    }
    path.write_text(dump(settings))
    return path


@pytest.fixture
def teacher(cli: Cli, tmp_path: Path) -> dict[str, Any]:
    """What a finished run in `teacher` says of its network on the test images."""
    method = {"name": "supervised", "steps": 20, "batch": 16, "student": {**SMALL, "ema": 0.8}}
    done = cli("run", written(tmp_path / "teacher.yaml", method), "--out", "teacher", "--json")
    assert done.returncode == 0, done.stderr
    final: dict[str, Any] = json.loads(done.stdout)["final"]
    return final


def test_a_teacher_that_has_learned_takes_no_steps(cli: Cli, teacher: dict[str, Any], tmp_path: Path) -> None:
    for name, (role, settings) in METHODS.items():
        config = written(tmp_path / f"{name}.yaml", {"name": name, **settings})
        plan = json.loads(cli("plan", config, "--json").stdout)["stages"][0]
        assert (plan["name"], plan["steps"], plan["flops"]) == (role, 0, 0)
        assert plan["networks"][0]["parameters"] > 0 == plan["networks"][0]["gradient_bytes"]
        done = cli("run", config, "--out", name, "--json")
        assert done.returncode == 0, done.stderr
        stages = json.loads(done.stdout)["stages"]
        assert next(iter(stages)) == role
        assert stages[role]["networks"] == {role: teacher}, name
        if name == "noisy_student":
            assert [stages[f"student{suffix}"]["images"] for suffix in ("_1", "")] == [3 * 4 * 6, 3 * 4 * 3]
            assert stages["select"]["dropped"] == {"labeled": 0}
        # Whoever judges a run needs no weights but its own.
        assert cli("eval", name, "--set", "seed=0").returncode == 0
        fresh = cli("run", config, "--out", "fresh", f"--set=method.{role}.network=small_cnn")
        assert fresh.returncode == 2
        assert f"stage {role}, {role}: it has no steps to learn in, but the network 'small_cnn' begins" in fresh.stderr


def test_killed_while_it_labels_a_run_without_teaching_goes_on_exactly(
    cli: Cli, teacher: dict[str, Any], command: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    config = written(tmp_path / "config.yaml", {"name": "noisy_student", **METHODS["noisy_student"][1]})
    assert cli("run", config, "--out", "whole").returncode == 0
    process = subprocess.Popen(
        [*command, "run", str(config), "--out", "cut"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not (tmp_path / "cut" / "artifacts" / "0-noisy_student" / "scores_1").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "cut" / "summary.json").exists()
    assert cli("run", config, "--out", "cut").returncode == 0
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "cut")
    found = [json.loads((tmp_path / run / "summary.json").read_text()) for run in ("whole", "cut")]
    assert (
        found[0]["stages"]["teacher"]["networks"] == found[1]["stages"]["teacher"]["networks"] == {"teacher": teacher}
    )
    assert found[0]["final"] == found[1]["final"]


def test_a_manifest_takes_the_place_of_teacher_and_labelling(cli: Cli, teacher: dict[str, Any], tmp_path: Path) -> None:
    for words in (
        ("label", "teacher", "teacher.yaml", "--out", "scores", "--distribution", "float32"),
        ("select", "scores", "--out", "soft.parquet", "--set", "top_k=9", "--set", "distribution=true"),
    ):
        assert cli(*words).returncode == 0
    table = pq.read_table(tmp_path / "soft.parquet")
    keys = ["stranger", *table.column("key").to_pylist()[1:]]
    pq.write_table(table.set_column(0, "key", pa.array(keys)), tmp_path / "moved.parquet")
    pq.write_table(table.drop_columns("distribution"), tmp_path / "hard.parquet")

    def config(method: str, labels: str, manifest: str) -> Path:
        settings = {**METHODS[method][1], "name": method, "teacher": None}
        settings["pseudo_labels"] = {**SOFT, "labels": labels, "manifest": manifest}
        return written(tmp_path / "config.yaml", settings)

    done = cli("run", config("noisy_student", "soft", "soft.parquet"), "--out", "soft", "--json")
    assert done.returncode == 0, done.stderr
    stages = json.loads(done.stdout)["stages"]
    assert list(stages) == ["manifest_1", "student_1", "label", "select", "student"]
    assert stages["manifest_1"]["samples"] == len(table)
    kept = "artifacts/0-{}/selected{}/manifest.parquet"
    assert pq.read_table(tmp_path / "soft" / kept.format("noisy_student", "_1")).equals(table)

    done = cli("run", config("billion_scale", "hard", "soft.parquet"), "--out", "hard", "--json")
    assert list(json.loads(done.stdout)["stages"]) == ["manifest", "pretrain", "finetune"]
    taken = pq.read_table(tmp_path / "hard" / kept.format("billion_scale", ""))
    assert taken.equals(table.drop_columns("distribution"))

    for labels, manifest, message in (
        ("soft", "hard.parquet", "hard.parquet has no distributions for soft labels"),
        ("soft", "moved.parquet", "lies where 'stranger' was when it was chosen"),
        ("soft", "none.parquet", "none.parquet"),
    ):
        refused = cli("run", config("noisy_student", labels, manifest), "--out", "refused")
        assert refused.returncode == 2
        assert message in refused.stderr
    both = cli("run", config("noisy_student", "soft", "soft.parquet"), f"--set=method.teacher={json.dumps(GIVEN)}")
    assert "pseudo_labels.manifest takes the place of the first teacher; set teacher: null" in both.stderr
    neither = cli("run", config("noisy_student", "soft", "soft.parquet"), "--set=method.pseudo_labels.manifest=null")
    assert "teacher is required and not set (or set pseudo_labels.manifest" in neither.stderr
