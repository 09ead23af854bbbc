"""Label, select, find duplicates: the verbs, on a trained run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset as wds
import yaml
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mplframe.data.packing.writer import encode_png
from mplframe.data.shards.source import WebDataset
from mplframe.selection.scores import file_name
from tests.distributed.launching import launched

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


def test_a_report_has_numbers_a_figure_and_examples(cli: Cli, trained: Path) -> None:
    assert cli("label", trained / "run", trained / "config.yaml", "--out", "scores").returncode == 0
    settings = ("--set", "threshold=0.2", "--set", "top_k=50", "--set", "balance=true")
    names = ("--classes", trained / "shards/classes.txt")
    done = cli("select", "scores", "--out", "best.parquet", *settings, "--report", "report", *names)
    assert done.returncode == 0, done.stderr
    assert "report.json, selection.png and examples.png: a row for each of" in done.stdout
    report, manifest = json.loads(Path("report/report.json").read_text()), pq.read_table("best.parquet").to_pylist()
    assert report["selected"] == len(manifest) == report["rows"]
    assert (
        report["tally"]["images"] == len(rows(Path("scores"))) == report["selected"] + sum(report["dropped"].values())
    )
    assert report["copies"] == sum(row["repeat"] for row in manifest) == sum(report["copies_by_class"])
    classes = len({row["label"] for row in manifest})
    assert report["copies"] == 50 * classes
    # Small images are enlarged to 96 pixels, 8 of them in a row, a row for each class.
    with Image.open("report/examples.png") as sheet:
        assert sheet.size == (8 * 102 + 6, classes * 116 + 6)

    for file in Path("scores").glob("*.parquet"):  # scores of shards that aren't there any more
        table = pq.read_table(file)
        shards = pa.array([f"gone/{file.stem}.tar"] * len(table)).dictionary_encode()
        metadata = {**table.schema.metadata, b"mplframe.shard": f"gone/{file.stem}.tar".encode()}
        moved = table.set_column(1, "shard", shards).replace_schema_metadata(metadata)
        pq.write_table(moved, Path("scores") / file_name(f"gone/{file.stem}.tar"))
        file.unlink()
    done = cli("select", "scores", "--out", "best.parquet", "--report", "report")
    assert done.returncode == 0, done.stderr
    [line] = [
        line for line in done.stdout.splitlines() if "no examples, because the images can't be read: gone/" in line
    ]
    assert "report has report.json and selection.png" in line
    assert not Path("report/examples.png").exists()


def test_a_student_learns_what_was_selected_where_it_lies_or_from_shards_of_its_own(cli: Cli, trained: Path) -> None:
    assert cli("label", trained / "run", trained / "config.yaml", "--out", "scores").returncode == 0
    settings = ("--set", "top_k=40", "--set", "balance=true")
    assert cli("select", "scores", "--out", "best.parquet", *settings).returncode == 0
    collected = cli("data", "collect", "best.parquet", "shards", "--classes", trained / "shards/classes.txt", "--json")
    assert collected.returncode == 0, collected.stderr
    samples = sum(row["repeat"] for row in pq.read_table("best.parquet").to_pylist())
    assert json.loads(collected.stdout)["samples"] == {"unlabeled": samples}

    config = yaml.safe_load((trained / "config.yaml").read_text())
    config["method"] |= {"name": "uda", "batch": {"labeled": 8, "unlabeled": 16}, "steps": 12}
    config["method"]["losses"] = [{"name": "supervised"}, {"name": "assigned"}]
    Path("student.yaml").write_text(yaml.safe_dump({**config, "checkpoint": {"every": 6}}))
    for name, way in (("in-place", "manifest=best.parquet"), ("collected", "data.unlabeled=shards/unlabeled-*.tar")):
        done = cli("run", "student.yaml", "--out", name, "--set", way)
        assert done.returncode == 0, done.stderr
        records = map(json.loads, (Path(name) / "metrics.jsonl").read_text().splitlines())
        assert any("student/assigned" in record for record in records)
    refused = cli("run", "student.yaml", "--out", "neither")
    assert refused.returncode == 2
    assert "manifest: FILE" in refused.stderr

    # The manifest is part of what a run is: another one can't be gone on with.
    Path("in-place/summary.json").unlink()
    assert (
        cli("select", "scores", "--out", "best.parquet", "--set", "top_k=39", "--set", "balance=true").returncode == 0
    )
    changed = cli("run", "student.yaml", "--out", "in-place", "--set", "manifest=best.parquet")
    assert changed.returncode == 2
    assert "manifest: " in changed.stderr


def test_images_are_selected_by_their_tags(cli: Cli, trained: Path) -> None:
    source = WebDataset(WebDataset.Config(unlabeled=f"{trained}/shards/unlabeled-*.tar", classes=10)).split("unlabeled")
    assert source is not None
    rng, tags = np.random.default_rng(0), {}
    with wds.TarWriter("tagged.tar") as writer:
        for number, sample in enumerate(source.read(range(60))):
            tags[number] = sorted(set(rng.integers(0, 10, rng.integers(0, 3)).tolist()))
            said = {"hashtags": [f"#{c}" for c in tags[number]] + ["#nofilter"]}
            writer.write({"__key__": f"{number:04d}", "png": encode_png(sample.image), "json": said})
    Path("map.json").write_text(json.dumps({f"#{c}": c for c in range(10)}))
    label = (
        "label",
        trained / "run",
        "tagged.tar",
        "--out",
        "scores",
        "--tags",
        "hashtags",
        "--tag-classes",
        "map.json",
    )
    done = cli(*label)
    assert done.returncode == 0, done.stderr
    scored = rows(Path("scores"))
    assert {row["index"]: row["tags"] for row in scored} == tags
    for order, top_k in (("probability", 2), ("random", 3)):
        settings = ("--set", "candidates=tagged", "--set", f"order={order}", "--set", f"top_k={top_k}")
        assert cli("select", "scores", "--out", "best.parquet", *settings).returncode == 0
        chosen = pq.read_table("best.parquet").to_pylist()
        assert all(row["label"] in tags[row["index"]] for row in chosen)
        wanted = {c: [n for n in tags if c in tags[n]] for c in range(10)}
        assert Counter(row["label"] for row in chosen) == {c: min(top_k, len(wanted[c])) for c in wanted if wanted[c]}
        if order == "probability":
            chances = {row["index"]: dict(zip(row["classes"], row["probabilities"], strict=True)) for row in scored}  # type: ignore[call-overload]
            best = {c: sorted(found, key=lambda n: (-chances[n][c], n))[:top_k] for c, found in wanted.items()}
            assert {(row["label"], row["index"]) for row in chosen} == {
                (c, n) for c, found in best.items() for n in found
            }

    untagged = cli("label", trained / "run", "tagged.tar", "--out", "plain")
    assert untagged.returncode == 0
    refused = cli("select", "plain", "--out", "best.parquet", "--set", "candidates=tagged")
    assert refused.returncode == 2
    assert "label with `--tags KEY`" in refused.stderr


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


def test_processes_share_the_shards_and_one_that_is_killed_leaves_no_trace(
    trained: Path, environment: dict[str, str], cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Few images at a time, so that there is time to kill.
    words = ("label", trained / "run", trained / "config.yaml", "--set", "evaluation.batch_size=4", "--json", "--out")
    assert cli(*words, "whole").returncode == 0
    monkeypatch.setenv("MPLFRAME_CACHE", environment["MPLFRAME_CACHE"])
    shared = tmp_path / "shared"
    with launched(tmp_path, "-m", "mplframe", *words, "shared") as launch:
        launch.wait_until(lambda: bool(list(shared.glob("*.parquet"))))
        os.kill(launch.alive(rank=1)[0], signal.SIGKILL)
        assert launch.wait(60) != 0
    finished = {file: file.stat().st_mtime_ns for file in shared.glob("*.parquet")}
    assert 0 < len(finished) < 8
    with launched(tmp_path, "-m", "mplframe", *words, "shared") as launch:
        assert launch.wait(120) == 0, launch.said
        said = [json.loads(line)["shards"] for line in launch.said.splitlines() if line.startswith("{")]
    assert len(said) == 2
    assert sum(said) == 8 - len(finished)
    assert rows(shared) == rows(tmp_path / "whole")
    assert {file: file.stat().st_mtime_ns for file in finished} == finished  # not made again


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
