"""Clips through the real command: train, stop, resume with other workers, judge, label, plan, predict."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mplframe.api import load_trained
from mplframe.config.load import dump
from mplframe.data.packing.pack import pack_folders
from mplframe.data.packing.packing import PackOptions
from mplframe.data.sources.small import encode_mp4, moving
from mplframe.inference.predict import predict

from .conftest import Cli
from .test_resume import assert_identical, kill_after, metrics, newest

pytestmark = pytest.mark.integration

LEARNER: dict[str, Any] = {
    "network": {"name": "r2plus1d", "blocks": [1, 1], "width": 4},
    "optimizer": {"name": "sgd", "lr": 0.05},
    "steps": 6,
    "batch": 4,
}


def write_videos(folder: Path, count: int) -> Path:
    for step, name in ((-1, "left"), (1, "right")):
        for number in range(count):
            rng = np.random.default_rng([number, step + 1])
            picture = rng.integers(128, 256, (6, 6), dtype=np.uint8)
            path = folder / name / f"{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_mp4(moving(picture, *rng.integers(0, 10, 2).tolist(), step)))
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    parts = {name: write_videos(folder / name, count) for name, count in (("train", 6), ("more", 10), ("test", 5))}
    options = PackOptions()
    pack_folders(
        folder / "shards", labeled=parts["train"], unlabeled=parts["more"], test=parts["test"], options=options
    )
    return folder


@pytest.fixture
def config(videos: Path, tmp_path: Path) -> Path:
    shards = videos / "shards"
    settings: dict[str, Any] = {
        "data": {
            "name": "webdataset",
            **{name: f"{shards}/{name}-*.tar" for name in ("labeled", "unlabeled", "test")},
            "classes": f"{shards}/classes.txt",
        },
        "input": {
            "size": 12,
            "channels": 1,
            "fit": "random_crop",
            "clip": {"frames": 4, "stride": 2, "test_clips": 3},
            "weak": [{"name": "crop", "padding": 1}],
            "strong": [{"name": "randaugment", "operations": "svhn"}],
            "workers": 0,
        },
        "method": {
            "name": "billion_scale",
            "teacher": LEARNER,
            "student": LEARNER,
            "assigned": {"name": "assigned", "view": "strong"},
            "pseudo_labels": {"labels": "hard", "select": {"top_p": 1, "top_k": 6}},
            "finetune": {"steps": 3, "batch": 4},
        },
        "backend": {"name": "single", "device": "cpu", "threads": 1},
        "evaluation": {"batch_size": 7},
        "checkpoint": {"every": 2},
        "trackers": ["jsonl"],
        "log_every": 1,
    }
    path = tmp_path / "config.yaml"
    path.write_text(dump(settings))
    return path


def test_killed_resumed_judged_planned_and_used(
    cli: Cli, command: list[str], environment: dict[str, str], config: Path, videos: Path, tmp_path: Path
) -> None:
    whole = cli("run", config, "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    process = subprocess.Popen(
        [*command, "run", str(config), "--out", "killed"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    kill_after(8, tmp_path / "killed", process, signal.SIGKILL)  # amid the student's epoch
    last = cli("run", config, "--out", "killed", "--set", "input.workers=3")
    assert last.returncode == 0, last.stderr
    a, b = (torch.load(newest(tmp_path / name), weights_only=True) for name in ("whole", "killed"))
    assert_identical(a, b)
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "killed")

    judged = json.loads(cli("eval", "whole", "--json").stdout)["networks"]["student"]
    expected = _judged_one_by_one(tmp_path / "whole")
    assert {name: judged[name] for name in expected} == pytest.approx(expected)

    told = cli("predict", "whole", videos / "test", "--out", "table.csv")
    assert told.returncode == 0, told.stderr
    with (tmp_path / "table.csv").open() as file:
        assert {row["class"] for row in csv.DictReader(file)} <= {"left", "right"}

    sheet = cli("data", "preview", config, "--out", "sheet.png", "--samples", "2", "--json")
    assert json.loads(sheet.stdout)["rows"] == ["labeled 0 weak", "labeled 1 weak"]

    flops = [
        json.loads(cli("plan", config, "--json", "--set", f"input.clip.frames={frames}").stdout)["stages"][0]
        for frames in (4, 8)
    ]
    assert flops[1]["flops"] == pytest.approx(2 * flops[0]["flops"], rel=0.01)


def _judged_one_by_one(run: Path) -> dict[str, float]:
    """Metrics by the definition: the mean of the probabilities of clip after clip, video after video."""
    trained = load_trained(run)
    _, network = trained.network(None)
    hits, losses = [], []
    for batch in trained.live.streams.judged_batches("test"):
        for clips, label in zip(batch.images, batch.labels.tolist(), strict=True):
            each = [predict(network, clip[None], trained.live.backend).softmax(-1)[0] for clip in clips]
            mean = torch.stack(each).mean(0)
            hits.append(float(mean.argmax() == label))
            losses.append(-float(mean[label].log()))
    return {"top1": float(np.mean(hits)), "nll": float(np.mean(losses))}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["input.clip=null"], "takes clips of videos and is given images; set input.clip"),
        (["method.student.network={name: small_cnn}"], "takes images and is given clips of 4 frames; unset input.clip"),
        (["data={name: digits}"], "has images, but the run takes videos; unset input.clip"),
    ],
)
def test_images_and_clips_are_told_apart_at_the_start(cli: Cli, config: Path, changes: list[str], message: str) -> None:
    refused = cli("run", config, "--out", "out", *(word for change in changes for word in ("--set", change)))
    assert refused.returncode == 2
    assert message in " ".join(refused.stderr.split())


def test_the_meta_gradient_takes_clips(cli: Cli, config: Path) -> None:
    learner = {name: value for name, value in LEARNER.items() if name not in ("steps", "batch")}
    method = {
        "name": "mpl",
        "steps": 2,
        "batch": {"labeled": 4, "unlabeled": 4},
        "teacher": learner,
        "student": learner,
    }
    for feedback in ("cosine", "exact"):
        done = cli(
            "run", config, "--out", feedback, "--set", f"method={dump({**method, 'feedback': {'name': feedback}})}"
        )
        assert done.returncode == 0, done.stderr
