"""Label, select, find duplicates: the verbs, on a trained run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .conftest import Cli

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """A run on digits whose unlabeled images lie in several shards, and these shards."""
    folder = tmp_path_factory.mktemp("trained")
    images = folder / "digits.npz"
    code = (
        "import numpy as np; from sklearn.datasets import load_digits; d = load_digits(); "
        f"np.savez({str(images)!r}, images=(d.images * 15).astype(np.uint8), labels=d.target)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    command = [sys.executable, "-m", "mplframe"]
    pack = ["data", "pack", "shards", "--source", str(images), "--labels", "40", "--test", "200"]
    subprocess.run([*command, *pack, "--shard-size", "200", "--keep-truth"], cwd=folder, env=environment, check=True)
    (folder / "config.yaml").write_text(
        f"""
data:
  name: webdataset
  labeled: {folder}/shards/labeled-*.tar
  unlabeled: {folder}/shards/unlabeled-*.tar
  test: {folder}/shards/test-*.tar
  classes: {folder}/shards/classes.txt
input: {{size: 8, channels: 1}}
method:
  name: supervised
  steps: 60
  student: {{network: {{name: small_cnn, channels: 8}}, optimizer: {{name: sgd, lr: 0.05}}}}
trackers: [jsonl]
"""
    )
    subprocess.run([*command, "run", "config.yaml", "--out", "run"], cwd=folder, env=environment, check=True)
    return folder


def rows(folder: Path) -> list[dict[str, object]]:
    return sorted(
        (row for file in folder.glob("*.parquet") for row in pq.read_table(file).to_pylist()),
        key=lambda row: (row["shard"], row["index"]),
    )


def test_from_a_checkpoint_to_a_manifest(cli: Cli, trained: Path) -> None:
    done = cli("label", trained / "run", trained / "config.yaml", "--out", "scores", "--embedding", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["role"], said["damaged"]) == ("student", {})
    scored = rows(Path("scores"))
    assert len(scored) == 1797 - 40 - 200
    assert said["shards"] == len({row["shard"] for row in scored}) == 8

    settings = ("--set", "top_p=2", "--set", "top_k=20", "--dropped", "rest.parquet")
    chosen = cli("select", "scores", "--out", "best.parquet", *settings, "--json")
    assert chosen.returncode == 0, chosen.stderr
    report = json.loads(chosen.stdout)
    manifest, rest = pq.read_table("best.parquet").to_pylist(), pq.read_table("rest.parquet").to_pylist()
    assert len({(row["shard"], row["index"]) for row in manifest}) + len(rest) == len(scored)
    assert report["selected"] == len(scored) - len(rest)
    best: dict[int, list[tuple[float, str, int]]] = {}
    for row in scored:
        for label, probability in list(zip(row["classes"], row["probabilities"], strict=True))[:2]:  # type: ignore[call-overload]
            best.setdefault(label, []).append((-probability, row["shard"], row["index"]))  # type: ignore[arg-type]
    expected = {(label, shard, index) for label, found in best.items() for _, shard, index in sorted(found)[:20]}
    assert {(row["label"], row["shard"], row["index"]) for row in manifest} == expected


def test_a_killed_labeller_is_restarted_without_a_trace(
    trained: Path, environment: dict[str, str], cli: Cli, tmp_path: Path
) -> None:
    assert cli("label", trained / "run", trained / "config.yaml", "--out", "whole").returncode == 0
    command = [sys.executable, "-m", "mplframe", "label", str(trained / "run"), str(trained / "config.yaml")]
    killed = tmp_path / "killed"
    process = subprocess.Popen([*command, "--out", "killed"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list(killed.glob("*.parquet")) and time.monotonic() < until and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    again = cli("label", trained / "run", trained / "config.yaml", "--out", "killed")
    assert again.returncode == 0, again.stderr
    assert rows(killed) == rows(tmp_path / "whole")
    assert cli("label", trained / "run", trained / "config.yaml", "--out", "killed").stdout.startswith("0 shards")


def test_processes_share_the_shards(trained: Path, environment: dict[str, str], cli: Cli, tmp_path: Path) -> None:
    assert cli("label", trained / "run", trained / "config.yaml", "--out", "whole").returncode == 0
    command = [sys.executable, "-m", "mplframe", "label", str(trained / "run"), str(trained / "config.yaml"), "--json"]
    ranks = [
        subprocess.Popen(
            [*command, "--out", "shared"],
            cwd=tmp_path,
            env={**environment, "RANK": str(rank), "WORLD_SIZE": "2"},
            stdout=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    shards = [json.loads(rank.communicate(timeout=120)[0])["shards"] for rank in ranks]
    assert shards == [4, 4]
    assert rows(tmp_path / "shared") == rows(tmp_path / "whole")


def test_copies_of_test_images_are_found_and_left_out(cli: Cli, trained: Path) -> None:
    config = trained / "config.yaml"
    for split in ("unlabeled", "test"):
        assert cli("label", trained / "run", config, "--split", split, "--out", split, "--embedding").returncode == 0
    # The test images themselves among the unlabeled ones.
    for file in Path("test").glob("*.parquet"):
        os.link(file, Path("unlabeled") / file.name)
    found = cli("duplicates", "unlabeled", "test", "--out", "copies.parquet", "--threshold", "0.99999", "--json")
    assert found.returncode == 0, found.stderr
    said = json.loads(found.stdout)
    assert said["copies"] >= 200
    assert said["closest"] == pytest.approx(1.0, abs=1e-5)
    left = cli("select", "unlabeled", "--out", "best.parquet", "--set", "exclude.copies=copies.parquet", "--json")
    assert left.returncode == 0, left.stderr
    assert json.loads(left.stdout)["dropped"]["copies"] == said["copies"]
    kept = {row["shard"] for row in pq.read_table("best.parquet").to_pylist()}
    assert not any("/test-" in shard for shard in kept)


@pytest.mark.parametrize("strength", [None, 0.5])
def test_features_are_judged_by_a_regression(cli: Cli, trained: Path, strength: float | None) -> None:
    """Against scikit-learn on the embeddings that `label` writes."""
    config = trained / "config.yaml"
    given = [] if strength is None else ["--strength", str(strength)]
    done = cli("transfer", trained / "run", config, *given, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["labeled"], found["test"]) == (40, 200)
    if strength is not None:
        assert found["strength"] == strength
    arrays = {}
    for split in ("labeled", "test"):
        scored = cli("label", trained / "run", config, "--split", split, "--out", f"{split}-scores", "--embedding")
        assert scored.returncode == 0, scored.stderr
        table = rows(Path(f"{split}-scores"))
        arrays[split] = np.array([row["embedding"] for row in table], np.float32), [row["label"] for row in table]
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=found["strength"], max_iter=2000))
    regression.fit(*arrays["labeled"])
    # The embeddings were stored in half precision, which may turn a sample or two.
    assert found["top1"] == pytest.approx(regression.score(*arrays["test"]), abs=0.011)
    assert found["top1"] > 0.5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["select", "nothing", "--out", "m.parquet"], "mplframe label --help"),
        (["select", "nothing", "--out", "m.parquet", "--set", "tpo_k=3"], "did you mean 'top_k'"),
        (["label", "no-run", "images", "--out", "s"], "no-run"),
        (["duplicates", "nothing", "nothing", "--out", "c.parquet"], "holds no scores"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(cli: Cli, words: list[str], said: str) -> None:
    found = cli(*words)
    assert found.returncode == 2
    assert said in found.stderr
    assert "Traceback" not in found.stderr
