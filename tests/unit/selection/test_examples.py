"""Examples of a selection against sorting everything."""

from pathlib import Path

import pyarrow.parquet as pq
from selection_support import SMALL, form, scored, write

from mplframe.selection.config import SelectionConfig
from mplframe.selection.examples import Example, examples
from mplframe.selection.select import select


def manifest(folder: Path, config: SelectionConfig, **images: int) -> str:
    scores = write(folder / "scores", scored(5, [40, 40, 40], **images), form())
    select(scores, str(folder / "manifest.parquet"), config, resources=SMALL)
    return str(folder / "manifest.parquet")


def test_the_surest_and_the_least_sure_of_each_class(tmp_path: Path) -> None:
    path = manifest(tmp_path, SelectionConfig(top_p=3))
    rows = pq.read_table(path).to_pylist()
    found = examples(path, each=3, resources=SMALL)
    assert len(found) == 5
    for label, line in enumerate(found):
        own = [row for row in rows if row["label"] == label]
        assert len(own) > 6
        best = sorted(own, key=lambda row: (-row["probability"], row["shard"], row["index"]))[:3]
        worst = sorted(own, key=lambda row: (row["probability"], row["shard"], row["index"]))[:3]
        expected = [*best, *reversed(worst)]
        assert line == [Example(**{name: row[name] for name in Example.__dataclass_fields__}) for row in expected]


def test_an_image_is_there_once_and_many_classes_are_thinned_out(tmp_path: Path) -> None:
    path = manifest(tmp_path, SelectionConfig(top_p=3, top_k=2))
    for classes, expected in ((5, [0, 1, 2, 3, 4]), (3, [0, 2, 4]), (2, [0, 4])):
        found = examples(path, each=2, classes=classes, resources=SMALL)
        assert [{example.label for example in line} for line in found] == [{label} for label in expected]
        assert [len(line) for line in found] == [2] * len(expected)


def test_images_without_a_probability_are_left_out(tmp_path: Path) -> None:
    path = manifest(tmp_path, SelectionConfig(candidates="tagged", order="random"), top_p=3)
    known = [row for row in pq.read_table(path).to_pylist() if row["probability"] is not None]
    found = examples(path, each=1000, resources=SMALL)
    assert 0 < sum(map(len, found)) == len(known) < pq.read_metadata(path).num_rows
