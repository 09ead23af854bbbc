"""Bad input gets one clear message, exit code 2 for a user's mistake and 1 for a failure, nothing half-written."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import Cli, Result

pytestmark = pytest.mark.integration

CONFIG = """
data:
  name: webdataset
  labeled: '{root}/labeled.tar'
  unlabeled: '{root}/unlabeled.tar'
  test: '{root}/test.tar'
  classes: {classes}
input: {{size: 8, channels: 1}}
evaluation: {{exclude_copies: false}}  # the shards here hold the same images
method:
  name: mpl
  steps: 4
  batch: {{labeled: 8, unlabeled: 8}}
  teacher: {{network: {{name: mlp, hidden: [8]}}, optimizer: {{name: sgd, lr: 0.01}}}}
  student: {{network: {{name: mlp, hidden: [8]}}, optimizer: {{name: sgd, lr: 0.01}}}}
checkpoint: {{every: 2}}
log_every: 2
trackers: [console, jsonl]
"""


def shard(path: Path, labels: list[int | None], size: int = 8, *, break_image: int | None = None) -> None:
    """A shard of small grey images."""
    rng = np.random.default_rng(0)
    with tarfile.open(path, "w") as tar:
        for i, label in enumerate(labels):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (size, size), dtype=np.uint8)).save(buffer, "png")
            content = {"png": b"no image" if i == break_image else buffer.getvalue()}
            if label is not None:
                content["cls"] = str(label).encode()
            for extension, data in content.items():
                member = tarfile.TarInfo(f"{i:04d}.{extension}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A sound config over sound shards of three classes."""
    shard(tmp_path / "labeled.tar", [0, 1, 2] * 4)
    shard(tmp_path / "unlabeled.tar", [None] * 20)
    shard(tmp_path / "test.tar", [0, 1, 2] * 3)
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(root=tmp_path, classes=3))
    return path


def refused(result: Result, *words: str, code: int = 2) -> None:
    assert result.returncode == code, (result.returncode, result.stderr)
    for word in words:
        assert word in result.stderr, result.stderr


def test_the_config_is_sound(cli: Cli, config: Path, tmp_path: Path) -> None:
    assert cli("run", config, "--out", "out").returncode == 0
    assert "top5" not in (tmp_path / "out" / "summary.json").read_text()


def test_missing_shards(cli: Cli, config: Path, tmp_path: Path) -> None:
    (tmp_path / "unlabeled.tar").unlink()
    refused(cli("run", config, "--out", "out"), "unlabeled", "unlabeled.tar")
    assert not list((tmp_path / "out").rglob("*.pt"))


def test_empty_shards(cli: Cli, config: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "labeled.tar", "w"):
        pass
    refused(cli("run", config, "--out", "out"), "labeled.tar", "no samples")


def test_truncated_shard(cli: Cli, config: Path, tmp_path: Path) -> None:
    whole = (tmp_path / "unlabeled.tar").read_bytes()
    (tmp_path / "unlabeled.tar").write_bytes(whole[:7000])
    refused(cli("run", config, "--out", "out"), "unlabeled.tar")


def test_a_class_index_out_of_range(cli: Cli, config: Path, tmp_path: Path) -> None:
    shard(tmp_path / "labeled.tar", [0, 1, 7] * 4)
    refused(cli("run", config, "--out", "out"), "0002", "7", "0 to 2")


def test_two_streams_of_different_image_sizes(cli: Cli, config: Path, tmp_path: Path) -> None:
    shard(tmp_path / "unlabeled.tar", [None] * 20, size=12)
    refused(cli("run", config, "--out", "out"), "12", "8", "input.fit")


def test_no_labeled_samples(cli: Cli, config: Path) -> None:
    refused(cli("run", config, "--out", "out", "--set", "data.labeled=null"), "data.labeled", "mplframe data pack")


def test_labels_missing_from_labeled_samples(cli: Cli, config: Path, tmp_path: Path) -> None:
    shard(tmp_path / "labeled.tar", [0, None, 2])
    refused(cli("run", config, "--out", "out"), "0001", "label")


def test_fewer_than_two_classes(cli: Cli, config: Path) -> None:
    refused(cli("run", config, "--out", "out", "--set", "data.classes=1"), "classes")


def test_an_image_that_cannot_be_decoded(cli: Cli, config: Path, tmp_path: Path) -> None:
    shard(tmp_path / "test.tar", [0, 1, 2], break_image=1)
    refused(cli("run", config, "--out", "out"), "0001", "test.tar")
    found = cli("data", "verify", config)
    assert found.returncode == 2
    assert "0001" in found.stdout


def test_damaged_samples_are_gone_on_without_where_that_is_allowed(cli: Cli, config: Path, tmp_path: Path) -> None:
    shard(tmp_path / "test.tar", [0, 1, 2], break_image=1)
    shard(tmp_path / "labeled.tar", [0, 1, None, 2, 7] * 3)
    whole = (tmp_path / "unlabeled.tar").read_bytes()
    (tmp_path / "unlabeled.tar").write_bytes(whole[: len(whole) // 2])
    refused(cli("run", config, "--out", "few", "--set", "input.max_damaged=3"), "max_damaged=3", "data verify")
    done = cli("run", config, "--out", "out", "--set", "input.max_damaged=20")
    assert done.returncode == 0, done.stderr
    listed = [json.loads(line) for line in (tmp_path / "out" / "damaged.jsonl").read_text().splitlines()]
    found = {(entry["split"], entry["key"]) for entry in listed}
    assert ("test", "0001") in found  # undecodable
    assert {("labeled", f"{i:04d}") for i in (2, 7, 12)} <= found  # without label
    assert {("labeled", f"{i:04d}") for i in (4, 9, 14)} <= found  # of a class that isn't
    assert any(split == "unlabeled" for split, _ in found)  # cut off
    assert all(entry["reason"] for entry in listed)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["damaged"] == {split: [s for s, _ in found].count(split) for split in summary["damaged"]}
    assert sum(summary["damaged"].values()) == len(listed) == len(found)
    judged = cli("eval", "out", "--json")
    assert json.loads(judged.stdout)["damaged"] == {"test": 1}


def test_a_loss_that_is_not_finite(cli: Cli, config: Path, tmp_path: Path) -> None:
    result = cli("run", config, "--out", "out", "--set", "method.student.optimizer.lr=1e30")
    refused(result, "student/", "diverged", code=1)
    assert not (tmp_path / "out" / "summary.json").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("method.steps=many", ["method.steps", "'many'"]),
        ("method.step=4", ["method.step", "did you mean 'steps'"]),
        ("method.name=mlp", ["method.name", "did you mean 'mpl'"]),
        ("method.feedback.inner.name=cosin", ["method.feedback.inner.name", "did you mean 'cosine'"]),
        ("method.batch.accumulate=3", ["labeled = 8", "accumulate = 3"]),
        ("method=7", ["method", "7"]),
        ("method.student.schedule={name: cosine, warmup: 9}", ["stage mpl, student", "warmup is 9"]),
        ("method.pseudo_label.kind=soft", ["method.feedback", "use the feedback 'exact'"]),
        ("input.mean=[0.5,0.5,0.5]", ["input", "channels"]),
        ("backend.device=cuda:9", ["backend.device", "cuda:9"]),
        ("nonsense", ["KEY=VALUE"]),
    ],
)
def test_settings_that_cannot_be_right(cli: Cli, config: Path, change: str, words: list[str]) -> None:
    refused(cli("run", config, "--out", "out", "--set", change), *words)


def test_a_checkpoint_of_another_architecture(cli: Cli, config: Path) -> None:
    assert cli("run", config, "--out", "first").returncode == 0
    other = cli("run", config, "--out", "second", "--resume", "first", "--set", "method.student.network.hidden=[9]")
    refused(other, "method.student.network.hidden.0: 8 then, 9 now")
    wrong = cli("eval", "first", "--set", "method.student.network.hidden=[9]")
    refused(wrong, "size mismatch")


def test_a_folder_that_cannot_be_written(cli: Cli, config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    refused(cli("run", config, "--out", "file"), "file", "--out")
    refused(cli("run", config, "--out", "file/below"), "--out")
    refused(cli("run", config, "--out", "/proc/nowhere"), "/proc/nowhere")


def test_missing_files(cli: Cli, tmp_path: Path) -> None:
    refused(cli("run", "nowhere.yaml"), "nowhere.yaml")
    refused(cli("eval", "nowhere"), "nowhere")
    refused(cli("predict", "nowhere", "images", "--out", "labels.txt"), ".csv")
    (tmp_path / "broken.yaml").write_text("a: [1")
    refused(cli("run", "broken.yaml"), "YAML")


def test_a_full_disk(config: Path, command: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    # A limit on file sizes makes writes fail in the middle of a checkpoint, as a full disk does.
    arguments = ["run", str(config), "--out", "out", "--set", "method.student.network.hidden=[4000]"]
    limited = ["bash", "-c", 'ulimit -f 200; trap "" XFSZ; exec "$@"', "bash", *command, *arguments]
    result = subprocess.run(limited, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "can't write" in result.stderr or "disk is full" in result.stderr
    left = [p.name for p in (tmp_path / "out" / "checkpoints").iterdir()]
    assert left == []


@pytest.mark.parametrize("classes", [2, 4])
def test_few_classes_work_throughout(cli: Cli, config: Path, tmp_path: Path, classes: int) -> None:
    labels = list(range(classes)) * 4
    for name in ("labeled", "test"):
        shard(tmp_path / f"{name}.tar", labels)
    config.write_text(CONFIG.format(root=tmp_path, classes=classes))
    assert cli("run", config, "--out", "out").returncode == 0
    found = cli("predict", "out", f"{tmp_path}/test.tar", "--out", "labels.csv", "--json")
    assert found.returncode == 0, found.stderr
    rows = (tmp_path / "labels.csv").read_text().splitlines()
    assert len(rows) == 1 + len(labels)
    assert rows[0].count(",") == 3 + classes
