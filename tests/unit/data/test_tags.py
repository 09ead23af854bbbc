"""Which classes the tags of an image name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds
from data_support import encoded, image

from mplframe.contracts.data import Split
from mplframe.data.damaged import Damaged, tolerant
from mplframe.data.manifests import AssignedSplit
from mplframe.data.shards.members import tag_rule
from mplframe.data.shards.source import WebDataset
from mplframe.errors import DamageError, DataError

CLASSES = ("Cat", "dog", "tree frog")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"tags": ["cat", "nofilter", "DOG"]}, (0, 1)),
        ({"tags": "Tree Frog, cat,cat"}, (0, 2)),
        ({"tags": [2, "dog"]}, (1, 2)),
        ({"tags": []}, ()),
        ({"tags": None}, ()),
        ({}, ()),
        ({"other": ["cat"]}, ()),
    ],
)
def test_a_tag_is_the_name_of_its_class(said: object, expected: tuple[int, ...]) -> None:
    rule = tag_rule("tags", CLASSES)
    assert rule.classes_of(json.dumps(said).encode(), "x") == expected


def test_a_file_says_what_tags_mean(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text(json.dumps({"#Tabby": "Cat", "#pets": ["Cat", 1], "#PETS": 2}))
    rule = tag_rule("meta.hashtags", CLASSES, str(tmp_path / "map.json"))
    for tags, expected in ((["#tabby"], (0,)), (["#pets", "#tabby"], (0, 1, 2)), (["cat"], ()), ([1], (1,))):
        assert rule.classes_of(json.dumps({"meta": {"hashtags": tags}}).encode(), "x") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "x: its .json isn't valid JSON"),
        (b'{"tags": {"cat": 1}}', "x: tags in its .json is {'cat': 1}; write a list of tags"),
        (b'{"tags": [3]}', "x: its tag 3 is no class; with 3 classes it must be 0 to 2"),
        (b'{"tags": [1.5]}', "write a list of tags"),
    ],
)
def test_what_is_no_tag(content: bytes, message: str) -> None:
    with pytest.raises(DamageError, match=message):
        tag_rule("tags", CLASSES).classes_of(content, "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "isn't a JSON object"),
        ("{", "isn't valid JSON"),
        ('{"#a": "cow"}', "gives the tag '#a' to 'cow', which is none of the 3"),
        ('{"#a": 3}', "gives the tag '#a' to 3"),
        ('{"#a": [true]}', "gives the tag '#a' to True"),
    ],
)
def test_a_file_that_says_nothing_of_use(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(DataError, match=message):
        tag_rule("tags", CLASSES, str(tmp_path / "map.json"))
    with pytest.raises(DataError, match=r"none\.json doesn't exist"):
        tag_rule("tags", CLASSES, str(tmp_path / "none.json"))


def opened(url: str, **settings: object) -> Split:
    config = WebDataset.Config.model_validate({"unlabeled": url, "classes": list(CLASSES), **settings})
    found = WebDataset(config).split("unlabeled")
    assert found is not None
    return found


def test_splits_give_the_tags_of_samples(tmp_path: Path) -> None:
    tags = [["cat"], ["dog", "cat"], None, [], ["tree frog"], [7]]
    for shard in range(2):
        with wds.TarWriter(str(tmp_path / f"{shard}.tar")) as writer:
            for number in range(3):
                said = tags[3 * shard + number]
                facts = {} if said is None else {"json": {"tags": said, "label": 0}}
                writer.write({"__key__": f"{number}", "png": encoded(image(number)), **facts})
    split = opened(str(tmp_path / "*.tar"), tag_key="tags")
    assert split.tags([4, 0, 2, 1, 3]) == [(2,), (0,), (), (0, 1), ()]
    assert split.tags([]) == []
    assert opened(str(tmp_path / "*.tar")).tags([]) is None
    chosen = AssignedSplit(split, np.array([1, 1, 4]), np.array([0, 0, 0]), classes=3)
    assert chosen.tags([2, 0, 1]) == [(2,), (0, 1), (0, 1)]
    with pytest.raises(DamageError, match=r"sample '2' in .*1\.tar: its tag 7 is no class"):
        split.tags([0, 5])
    damaged = Damaged(1)
    assert tolerant(split, "unlabeled", damaged).tags([0, 5]) == [(0,), ()]
    assert damaged.counts == {"unlabeled": 1}
