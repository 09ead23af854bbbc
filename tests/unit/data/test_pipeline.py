"""Pipelines of a user's module, which each test writes."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from data_support import image, write_shards

from mplframe.data.sources.pipeline import Pipeline, materialised, members_of
from mplframe.errors import DataError, UserError

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

HEAD = """
from pathlib import Path
import numpy as np
import webdataset as wds
from PIL import Image
from data_support import image
HERE = Path(__file__).parent

def run(name):
    with (HERE / "runs").open("a") as file:
        file.write(name + "\\n")

"""


class Module:
    """A module of the user's: its text can be changed, and the times that its pipelines have run are counted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, text: str) -> None:
        (self.folder / "pipes.py").write_text(HEAD + text)
        sys.modules.pop("pipes", None)

    @property
    def runs(self) -> list[str]:
        path = self.folder / "runs"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the module changes faster than times of change tell
    yield Module(tmp_path)
    sys.modules.pop("pipes", None)
    gc.collect()  # webdataset leaves its files to the garbage collector


def source(tmp_path: Path, **settings: object) -> Pipeline:
    config = {"labeled": "pipes:labeled", "classes": 10, "cache": str(tmp_path / "cache")}
    return Pipeline(Pipeline.Config(**{**config, **settings}))


FILTERED = """
def keep(sample):
    return int(sample["cls"]) % 2 == 0

def labeled():
    run("labeled")
    return wds.WebDataset(str(HERE / "shards/part-{000..001}.tar"), shardshuffle=False).select(keep)
"""


def test_a_webdataset_pipeline_with_a_filter(module: Module, tmp_path: Path) -> None:
    write_shards(tmp_path / "shards", [15, 15])
    module.write(FILTERED)
    data = source(tmp_path)
    split = data.split("labeled")
    samples = split.read(range(len(split)))
    assert [sample.label for sample in samples] == [0, 2, 4, 6, 8] * 3
    for number, sample in enumerate(samples):
        np.testing.assert_array_equal(sample.image, image(2 * number))
        assert sample.key == f"{number:08d}-{2 * number:05d}"
    assert data.split("unlabeled") is None
    assert data.split("test") is None
    said = data.fingerprint()
    assert said["labeled"]["pipeline"] == "pipes:labeled"
    assert said["labeled"]["samples"] == 15
    assert str(tmp_path) not in repr(said)


def test_it_runs_once_until_its_module_or_version_changes(module: Module, tmp_path: Path) -> None:
    write_shards(tmp_path / "shards", [5, 5])
    module.write(FILTERED)
    for _ in range(2):
        assert len(source(tmp_path).split("labeled")) == 5
    assert module.runs == ["labeled"]
    assert len(source(tmp_path, version="2").split("labeled")) == 5
    assert module.runs == ["labeled"] * 2
    module.write(FILTERED.replace("== 0", "== 1"))
    labels = [sample.label for sample in source(tmp_path, version="2").split("labeled").read(range(5))]
    assert labels == [1, 3, 5, 7, 9]
    assert module.runs == ["labeled"] * 3


def test_those_who_ask_at_once_wait_for_one_run(module: Module, tmp_path: Path) -> None:
    write_shards(tmp_path / "shards", [15, 15])
    module.write(FILTERED)
    __import__("pipes")
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(materialised("pipes:labeled", "", tmp_path / "cache")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 4
    assert module.runs == ["labeled"]


def test_arrays_pictures_and_labels_of_any_spelling(module: Module, tmp_path: Path) -> None:
    module.write("""
def labeled():
    yield {"__key__": "a", "npy": image(0), "cls": 3}
    yield {"__key__": "a", "png": image(1)[:, :, 0], "cls": np.int64(4)}
    yield {"__key__": "c/d.e", "jpg": Image.fromarray(image(2)), "json": {"label": "five"}}
    yield {"__key__": "f", "png": Image.fromarray(image(3)[:, :, 0]), "cls": "6", "__url__": "x", "txt": "caption"}
""")
    names = ["zero", "one", "two", "three", "four", "five", "six"]
    samples = source(tmp_path, classes=names).split("labeled").read(range(4))
    assert [sample.label for sample in samples] == [3, 4, 5, 6]
    assert [sample.key for sample in samples] == ["00000000-a", "00000001-a", "00000002-c-d-e", "00000003-f"]
    for number, (sample, pixels) in enumerate(
        zip(samples, (image(0), image(1)[:, :, :1], image(2), image(3)[:, :, :1]), strict=True)
    ):
        np.testing.assert_array_equal(sample.image, pixels, str(number))


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (("image", 3), "returned a tuple as sample 7; samples must be dicts .*to_tuple"),
        ({"png": b""}, "has no text under __key__"),
        ({"__key__": "a", "txt": "x"}, r"has 0 images or videos; it needs one under jpg.*\(it has txt\)"),
        ({"__key__": "a", "png": image(0), "jpg": image(0)}, "has 2 images"),
        ({"__key__": "a", "png": b"no image"}, r"sample 7 \(a\) of pipes:labeled: the image can't be decoded"),
        ({"__key__": "a", "png": image(0) / 255}, "must be uint8"),
        ({"__key__": "a", "png": [1, 2]}, "has a list as its image"),
        ({"__key__": "a", "png": image(0), "cls": 1.5}, "has the label 1.5; under cls give a class index"),
        ({"__key__": "a", "png": image(0), "json": {"label": {1}}}, "has a json that can't be written"),
    ],
)
def test_what_is_not_a_sample(sample: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        members_of(7, sample, "pipes:labeled")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise RuntimeError('no network')", "pipes:labeled can't be imported: RuntimeError: no network"),
        ("def labelled(): pass", "pipes has no 'labeled'; did you mean 'labelled'"),
        ("labeled = 3", "is int, not a function that returns samples"),
        ("def labeled(): return []", "pipes:labeled returned no samples"),
        ("def labeled(): return 3", "failed after 0 samples: TypeError"),
        (
            "def labeled():\n    yield {'__key__': 'a', 'png': image(0), 'cls': 1}\n    raise OSError('gone')",
            "the pipeline pipes:labeled failed after 1 samples: OSError: gone",
        ),
    ],
)
def test_a_pipeline_that_fails_leaves_nothing(module: Module, tmp_path: Path, text: str, message: str) -> None:
    module.write(text)
    with pytest.raises(UserError, match=message):
        source(tmp_path).split("labeled")
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.suffix in (".tar", ".part", ".json")]
    assert kept == []


def test_paths_of_callables_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pattern"):
        source(tmp_path, labeled="pipes.labeled")
    with pytest.raises(UserError, match="nowhere:labeled can't be imported: ModuleNotFoundError"):
        source(tmp_path, labeled="nowhere:labeled").split("labeled")
