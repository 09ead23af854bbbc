"""What judges or chooses is never trained on, and a checkpoint knows its data."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import mplframe
from mplframe import api
from mplframe.builders import Run
from mplframe.data.packing.pack import pack_folders
from mplframe.data.packing.split_packing import PackOptions
from mplframe.engine.interrupt import Interrupted
from mplframe.errors import CheckpointError, DataError, UserError

CLASSES = ("ant", "bee", "cow")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 labeled images of each class in `a`, 9 of them for testing; the same images in another order in `b`."""
    root = tmp_path_factory.mktemp("shards")
    draws = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        (root / "src" / name).mkdir(parents=True)
        for i in range(12):
            pixels = draws.integers(0, 60, (8, 8, 3)).astype(np.uint8) + 60 * number
            Image.fromarray(pixels).save(root / "src" / name / f"{i}.png")
    for out, seed in (("a", 0), ("b", 7)):
        pack_folders(root / out, labeled=root / "src", test=9, options=PackOptions(seed=seed))
    return root


SUPERVISED = {
    "name": "supervised",
    "steps": 4,
    "batch": 6,
    "student": {"network": {"name": "mlp", "hidden": [8]}, "optimizer": {"name": "sgd", "lr": 0.05}},
}
TEACHER = {key: SUPERVISED["student"][key] for key in ("network", "optimizer")}  # type: ignore[index]


def config(data: Path, unlabeled: str, method: dict[str, Any] | None = None, **changes: Any) -> mplframe.RunConfig:
    return mplframe.from_dict(
        {
            "data": {
                "name": "webdataset",
                "labeled": f"{data}/labeled-*.tar",
                "unlabeled": unlabeled,
                "test": f"{data}/test-*.tar",
                "classes": f"{data}/classes.txt",
            },
            "input": {"size": 8},
            "method": method or SUPERVISED,
            "backend": {"name": "single", "threads": 1},
            "checkpoint": {"every": 2},
            "trackers": ["jsonl"],
            **changes,
        }
    )


def opened(*given: Any, **changes: Any) -> Run:
    return api.runs.build_run(config(*given, **changes), api.components())


def contents(run: Run, name: Any) -> set[bytes]:
    split = run.streams.split(name)
    return set(split.digests(range(len(split))))


@pytest.mark.parametrize("holdout", [6, None], ids=["asked for", "by default"])
def test_nothing_that_judges_or_chooses_is_trained_on(shards: Path, holdout: int | None) -> None:
    everything = [f"{shards}/a/labeled-*.tar", f"{shards}/a/test-*.tar"]
    run = opened(shards / "a", everything, evaluation={"holdout": holdout})  # type: ignore[arg-type]
    labeled, unlabeled, chosen, test = (contents(run, name) for name in ("labeled", "unlabeled", "holdout", "test"))
    assert (len(labeled), len(chosen), len(test)) == ((21, 6, 9) if holdout else (24, 3, 9))
    assert unlabeled == labeled
    assert not labeled & (chosen | test)
    assert [line for line in run.streams.told() if "unlabeled samples are copies" in line] == [
        f"{len(chosen | test)} unlabeled samples are copies of held-out or test samples and aren't trained on"
    ]


def test_copies_can_be_kept(shards: Path) -> None:
    run = opened(shards / "a", f"{shards}/a/test-*.tar", evaluation={"exclude_copies": False})
    assert contents(run, "unlabeled") == contents(run, "test")


def test_data_that_are_all_copies_are_refused(shards: Path) -> None:
    with pytest.raises(DataError, match=r"every sample .* evaluation\.exclude_copies=false"):
        opened(shards / "a", f"{shards}/a/test-*.tar").streams.split("unlabeled")


@pytest.mark.parametrize(("given", "chooses"), [(True, True), (None, True), (False, False)])
def test_a_tenth_is_held_out_where_something_chooses(shards: Path, given: bool | None, chooses: bool) -> None:
    run = opened(shards / "a", f"{shards}/a/labeled-*.tar", checkpoint={"keep_best": given})
    assert run.streams.chooses is chooses
    assert len(run.streams.split("labeled")) == (24 if chooses else 27)
    choice = run.choice
    assert (choice and choice.judge.split) == ("holdout" if chooses else None)


def test_too_few_labels_choose_nothing() -> None:
    few = {
        "data": {"name": "digits", "labeled_per_class": 3},
        "input": {"size": 8, "channels": 1},
        "method": SUPERVISED,
    }
    assert api.runs.build_run(mplframe.from_dict(few), api.components()).choice is None
    asked = mplframe.from_dict({**few, "checkpoint": {"keep_best": True}})
    with pytest.raises(UserError, match=r"a class has fewer than 4 labels; set evaluation\.holdout"):
        assert api.runs.build_run(asked, api.components()).choice is None


def written_anew(shard: Path, out: Path) -> None:
    """The same images under the same names, in other bytes."""
    with tarfile.open(shard) as old, tarfile.open(out, "w") as new:
        for member in old:
            file = old.extractfile(member)
            assert file is not None
            content = io.BytesIO(file.read())
            if member.name.endswith(".png"):
                image, content = Image.open(content), io.BytesIO()
                image.save(content, "PNG", compress_level=0)
            member.size = len(content.getvalue())
            content.seek(0)
            new.addfile(member, content)


@pytest.mark.parametrize("by_key", [False, True], ids=["the same content", "written anew under the same keys"])
def test_held_out_images_get_no_pseudo_labels(shards: Path, tmp_path: Path, by_key: bool) -> None:
    unlabeled = f"{shards}/a/labeled-*.tar"
    method = {
        "name": "noisy_student",
        "batch": {"labeled": 4, "unlabeled": 4},
        "teacher": {**TEACHER, "steps": 2},
        "pseudo_labels": {"exclude_labeled": by_key, "select": {"threshold": 0.0}},
        "rounds": [{**TEACHER, "steps": 2}],
    }
    if by_key:
        for shard in (shards / "a").glob("*.tar"):
            written_anew(shard, tmp_path / shard.name)
        unlabeled = f"{tmp_path}/*.tar"
    run = config(shards / "a", unlabeled, method, evaluation={"holdout": 6})
    live = api.runs.build_run(run, api.components())
    held_out = live.streams.split("holdout")
    keys = {held_out.key(i) for i in range(len(held_out))}
    mplframe.run(run, out=tmp_path / "run")
    (manifest,) = (tmp_path / "run").rglob("manifest.parquet")
    assert not keys & set(pq.read_table(manifest).column("key").to_pylist())


def stopped(shards: Path, out: Path, **changes: Any) -> None:
    with pytest.raises(Interrupted, match="stopped after"):
        mplframe.run(
            config(shards / "a", f"{shards}/a/labeled-*.tar", **changes), out=out, watch=lambda r: r.total >= 2
        )


def test_other_data_are_refused_on_resume(shards: Path, tmp_path: Path) -> None:
    stopped(shards, tmp_path / "run", log_every=1)
    with pytest.raises(CheckpointError, match=r"content\.labeled"):
        mplframe.run(config(shards / "b", f"{shards}/a/labeled-*.tar", log_every=1), out=tmp_path / "run")


def test_what_judges_may_change_on_resume(shards: Path, tmp_path: Path) -> None:
    held_out = {"holdout": 6, "split": "holdout"}
    stopped(shards, tmp_path / "run", log_every=1, evaluation=held_out)
    changed = config(shards / "a", f"{shards}/a/labeled-*.tar", log_every=1, evaluation={**held_out, "split": "test"})
    assert mplframe.run(changed, out=tmp_path / "run")["split"] == "test"


def test_only_the_role_that_the_run_is_for_is_the_best(shards: Path, tmp_path: Path) -> None:
    """The teacher has learned and the student hasn't: the best is still the student."""
    method = {
        "name": "noisy_student",
        "batch": {"labeled": 6, "unlabeled": 6},
        "teacher": {**TEACHER, "steps": 30},
        "rounds": [{**TEACHER, "optimizer": {"name": "sgd", "lr": 1e-6}, "steps": 2}],
    }
    out = tmp_path / "run"
    run = config(shards / "a", f"{shards}/a/labeled-*.tar", method, evaluation={"every": 1})
    summary = mplframe.run(run, out=out)
    assert torch.load(out / "checkpoints" / "best.pt", weights_only=True)["stage"] == "student"
    assert summary["best"]["role"] == "student"
    assert json.loads((out / "summary.json").read_text())["best"]["split"] == "holdout"
