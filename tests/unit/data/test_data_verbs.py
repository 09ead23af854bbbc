"""`mplframe data ...` as it is typed."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from data_support import encoded, image, write_shards
from PIL import Image

from mplframe import cli
from mplframe.api import datasets
from mplframe.cli.data import FormatOption, SplitOption
from mplframe.data.packing.partition import PaperSplit
from mplframe.data.readers.detect import FORMATS


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Types a command; its exit code, what it printed and what it complained about."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLFRAME_CACHE", str(tmp_path / "cache"))

    def typed(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mplframe", "data", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return typed


def answer(run: Any, *words: object) -> Any:
    code, out, err = run(*words, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(24):
        path = tmp_path / f"photos/{'ab'[i % 2]}/{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image(i)))
    return tmp_path / "photos"


def test_pack_split_index_inspect(run: Any, photos: Path, tmp_path: Path) -> None:
    report = answer(run, "pack", "shards", "--source", photos, "--test", "0.25", "--shard-mb", "0.01", "--workers", 2)
    assert report["samples"] == {"labeled": 18, "test": 6}
    assert len(report["shards"]["labeled"]) > 1
    code, out, err = run("index", "shards", "--check")
    assert (code, err) == (0, "")
    assert "fits" in out
    report = answer(run, "split", "shards", "few", "--labels", "4", "--seed", 3)
    assert report["samples"] == {"labeled": 4, "unlabeled": 14, "test": 6}
    code, out, _ = run("inspect", "few", "--sheet", "sheet.png", "--limit", 0)
    assert code == 0
    assert "unlabeled: 20 KiB in shards of 20 KiB (median; smallest 20 KiB, largest 20 KiB)" in " ".join(out.split())
    assert answer(run, "inspect", "few")["splits"]["test"]["shard_bytes"]["smallest"] > 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 100
    report = answer(run, "split", "shards", "lists", "--labels", "0.5", "--choose", "in-order", "--manifest")
    assert report["samples"]["labeled"] == 9
    assert run("split", "shards", "more", "--labels", 4)[0] == 0
    assert run("verify", "few")[0] == 0


def test_a_missing_index_is_exit_code_2(run: Any, tmp_path: Path) -> None:
    write_shards(tmp_path / "theirs", [4])
    code, out, _ = run("index", "theirs/*.tar", "--check")
    assert code == 2
    assert "part-000.tar: no index that fits" in out
    assert run("index", "theirs/*.tar")[:2] == (0, "1 indexes: 1 made\n")


def test_damage_is_shown(run: Any, tmp_path: Path) -> None:
    (url,) = write_shards(tmp_path / "theirs", [4])
    Path(url).write_bytes(Path(url).read_bytes()[:3000])
    code, out, _ = run("inspect", "theirs/*.tar")
    assert code == 0
    assert "damaged" in out
    assert "cut short" in " ".join(out.split())


def test_preview(run: Any, tmp_path: Path) -> None:
    quickstart = Path(__file__).parents[3] / "examples/quickstart.yaml"
    drawn = answer(run, "preview", quickstart, "--out", "sheet.png", "--samples", 5, "--step", 2)
    assert drawn == {
        "out": "sheet.png", "stage": "mpl", "step": 2, "rows": ["labeled weak", "unlabeled weak", "unlabeled strong"],
    }  # fmt: skip
    with Image.open(tmp_path / "sheet.png") as image:
        first = np.asarray(image)
    assert first.shape[1] == 5 * 102 + 6
    answer(run, "preview", quickstart, "--out", "other.png", "--samples", 5, "--step", 3)
    with Image.open(tmp_path / "other.png") as image:
        assert not np.array_equal(first, np.asarray(image))
    code, _, err = run("preview", quickstart, "--out", "x.png", "--step", 1500)
    assert (code, err.count("\n")) == (2, 1)
    assert "there is no step 1500" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("pack", "out"), "give either --labeled DIR"),
        (("pack", "out", "--source", "nowhere"), "nowhere: no such file or folder"),
        (("pack", "out", "--source", "photos", "--labels", "some"), "--labels takes a number"),
        (("pack", "out", "--source", "photos", "--shard-size", 0), "at least one sample"),
        (("pack", "out", "--source", "photos", "--image-column", "x"), "columns can be named in a CSV"),
        (("pack", "out", "--labeled", "photos", "--label-column", "x"), "are of a --source"),
        (("pack", "nowhere://x", "--labeled", "photos"), "nowhere://x"),
        (("split", "photos", "out", "--labels", 3), "neither shards"),
        (("index", "nothing.tar"), "nothing.tar doesn't exist"),
        (("inspect", "photos"), "has no labeled-*.tar"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run: Any, photos: Path, words: tuple[object, ...], message: str) -> None:
    code, out, err = run(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (photos.parent / "out").exists()


@pytest.mark.parametrize("verb", ["pack", "split", "index", "inspect", "preview", "verify"])
def test_every_verb_has_help_and_an_example(run: Any, verb: str) -> None:
    code, out, _ = run(verb, "--help")
    assert code == 0
    assert f"Example: mplframe data {verb}" in " ".join(out.split())


def test_the_formats_are_those_that_can_be_read() -> None:
    kinds, _ = get_args(FormatOption)
    assert set(get_args(kinds)) == {"auto", *FORMATS}


def test_the_splits_of_the_papers_are_those_that_can_be_made() -> None:
    names, _ = get_args(get_args(SplitOption)[0])
    assert get_args(names) == get_args(PaperSplit)


def test_verbs_and_functions_take_the_same_options() -> None:
    shared = set(inspect.signature(datasets.data_split).parameters) & set(
        inspect.signature(datasets.data_pack).parameters
    )
    assert shared >= {"split", "labels", "test", "choose", "keep_truth", "progress", "options"}
