"""The table of scores: written whole or not at all, resumed by shard, checked when it is read."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from selection_support import SMALL, batch, form, rows, scored, write

from mplframe.errors import DataError, UserError
from mplframe.selection.config import SelectionConfig
from mplframe.selection.score_files import ScoreFolder, ScoreWriter
from mplframe.selection.scores import file_name, top_classes
from mplframe.selection.select import select

KILLED = """
import os, signal, sys
from selection_support import batch, form, scored
from mplframe.selection.score_files import ScoreWriter
images = scored(5, [6, 7, 8])
writer = ScoreWriter(sys.argv[1], form())
for shard in writer.pending(sorted({image.shard for image in images})):
    with writer.shard(shard) as scores:
        those = [image for image in images if image.shard == shard]
        scores.add(batch(those[:4], form()))
        if shard == "s3://bucket/01/part.tar" and sys.argv[2] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        scores.add(batch(those[4:], form()))
"""


def test_everything_is_read_back(tmp_path: Path) -> None:
    images = scored(0, [4, 0, 6])
    like = form(distribution="float16", embedding=3, embedding_type="float32")
    folder = write(tmp_path, images, like)
    assert (folder.form, folder.images) == (like, 10)
    found = [
        row
        for part in folder.batches(["key", "shard", "index", "label", "tags", "embedding"], 3)
        for row in part.to_pylist()
    ]
    assert [(row["key"], row["shard"], row["index"]) for row in found] == [(i.key, i.shard, i.index) for i in images]
    assert [row["tags"] for row in found] == [sorted(i.tags) for i in images]
    assert [row["label"] for row in found] == [None if i.label < 0 else i.label for i in images]
    assert [row["embedding"] for row in found] == [[i.index + 1.0] * 3 for i in images]


def test_a_killed_writer_goes_on_exactly(tmp_path: Path) -> None:
    def run(folder: Path, how: str) -> int:
        paths = os.pathsep.join([str(Path(__file__).parent), str(Path.cwd())])
        command = [sys.executable, "-c", KILLED, str(folder), how]
        return subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, check=False).returncode

    assert run(tmp_path / "killed", "die") == -signal.SIGKILL
    shards = [f"s3://bucket/0{n}/part.tar" for n in range(3)]
    assert ScoreWriter(str(tmp_path / "killed"), form()).pending(shards) == shards[1:]
    with pytest.raises(DataError, match=r"lacks the scores of 2 of 3 shards, of s3://bucket/01/part.tar"):
        ScoreFolder(str(tmp_path / "killed"), shards=shards)
    assert run(tmp_path / "killed", "live") == 0
    assert run(tmp_path / "whole", "live") == 0
    for shard in shards:
        name = file_name(shard)
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert ScoreFolder(str(tmp_path / "killed"), shards=shards).images == 21


def test_a_failed_shard_leaves_nothing(tmp_path: Path) -> None:
    writer = ScoreWriter(str(tmp_path), form())

    def interrupted() -> None:
        with writer.shard("a.tar") as scores:
            scores.add(batch(scored(0, [3]), form()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_shards_of_one_name_are_kept_apart() -> None:
    assert len({file_name(shard) for shard in ("train/0.tar", "val/0.tar", "train/0.x.tar", "train/0-.tar")}) == 4


def test_other_settings_are_refused(tmp_path: Path) -> None:
    write(tmp_path, scored(0, [3]), form())
    with pytest.raises(DataError, match=r"scores with top_p 3 instead of 2, checkpoint sha256:0 instead of other;"):
        ScoreWriter(str(tmp_path), form(top_p=2, checkpoint="other"))
    ScoreWriter(str(tmp_path), form())


def test_folders_that_can_not_be_right_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no scores"):
        ScoreFolder(str(tmp_path / "none"))
    write(tmp_path, scored(0, [3]), form())
    [file] = tmp_path.iterdir()
    (tmp_path / "copy.parquet").write_bytes(file.read_bytes())
    with pytest.raises(DataError, match=r"both hold the scores of s3://bucket/00/part.tar"):
        ScoreFolder(str(tmp_path))
    (tmp_path / "copy.parquet").write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"copy.parquet can't be read"):
        ScoreFolder(str(tmp_path))
    pq.write_table(pq.read_table(file).replace_schema_metadata(), tmp_path / "copy.parquet")
    with pytest.raises(DataError, match=r"copy.parquet is no file of scores"):
        ScoreFolder(str(tmp_path))
    (tmp_path / "copy.parquet").unlink()
    write(tmp_path / "other", scored(0, [1, 3]), form(checkpoint="other"))
    for other in (tmp_path / "other").iterdir():
        other.rename(tmp_path / f"x{other.name}")
    with pytest.raises(DataError, match="one folder holds scores of one teacher"):
        ScoreFolder(str(tmp_path))
    newer = pq.read_table(file)
    metadata = newer.schema.metadata
    metadata[b"mplframe.scores"] = metadata[b"mplframe.scores"].replace(b'"version":1', b'"version":2')
    pq.write_table(newer.replace_schema_metadata(metadata), file)
    with pytest.raises(DataError, match=r"a format that this version doesn't read .version"):
        ScoreFolder(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probabilities": np.array([[0.5, 0.6, 0.1]])}, "'k0' has probabilities that don't descend"),
        ({"probabilities": np.array([[0.5, np.nan, 0.1]])}, "probabilities that aren't in"),
        ({"probabilities": np.array([[1.5, 0.2, 0.1]])}, "probabilities that aren't in"),
        ({"probabilities": np.array([[0.5, 0.1]])}, r"probabilities has the shape \(1, 2\), but .* asks for \(1, 3\)"),
        ({"classes": np.array([[0, 1, 5]])}, "classes outside 0 to 4"),
        ({"classes": np.array([[0, 1, 1]])}, "a class twice"),
        ({"label": np.array([5])}, "a label above 4"),
        ({"label": None}, "label has the shape None"),
        ({"tags": [[5]]}, "tags outside 0 to 4"),
        ({"embedding": np.full((1, 2), np.inf)}, "numbers in its embedding that aren't finite"),
        ({"distribution": np.zeros((1, 5))}, r"distribution has the shape \(1, 5\), but .* asks for None"),
        ({"index": np.array([-1])}, "has number -1 after -1"),
    ],
)
def test_batches_that_can_not_be_right_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    like = form(embedding=2)
    good = {
        "keys": ["k0"],
        "index": np.array([0]),
        "classes": np.array([[0, 1, 2]]),
        "probabilities": np.array([[0.5, 0.3, 0.1]]),
        "embedding": np.ones((1, 2)),
        "label": np.array([-1]),
        "tags": [[]],
    }
    writer = ScoreWriter(str(tmp_path), like)
    with pytest.raises(DataError, match=message), writer.shard("a.tar") as scores:
        scores.add(type(batch([], like))(**{**good, **changes}))
    assert list(tmp_path.iterdir()) == []


def test_images_come_in_order_and_once(tmp_path: Path) -> None:
    images = scored(0, [6])
    writer = ScoreWriter(str(tmp_path), form())
    with writer.shard("a.tar") as scores:
        scores.add(batch(images[:3], form()))
        with pytest.raises(DataError, match="scored once each"):
            scores.add(batch(images[2:], form()))
        scores.add(batch(images[3:], form()))
    assert ScoreFolder(str(tmp_path)).images == 6


def test_the_top_classes_of_ties_are_the_first() -> None:
    classes, probabilities = top_classes(np.array([[0.1, 0.4, 0.1, 0.4], [0.25] * 4], np.float32), 3)
    assert classes.tolist() == [[1, 3, 0], [0, 1, 2]]
    assert probabilities.tolist() == np.array([[0.4, 0.4, 0.1], [0.25] * 3], np.float32).tolist()


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def test_any_store_will_do(memory: MemoryFileSystem, tmp_path: Path) -> None:
    images = scored(2, [9, 8])
    config = SelectionConfig(top_p=2, top_k=5)
    select(write("memory://bucket/scores", images, form()), "memory://bucket/out.parquet", config, resources=SMALL)
    select(write(tmp_path / "scores", images, form()), str(tmp_path / "out.parquet"), config, resources=SMALL)
    (tmp_path / "copy.parquet").write_bytes(memory.cat_file("/bucket/out.parquet"))
    assert rows(tmp_path / "copy.parquet") == rows(tmp_path / "out.parquet")
    assert not [path for path in memory.find("/") if path.endswith(".part")]


def test_an_unknown_store_is_refused() -> None:
    with pytest.raises(UserError, match="nonsense://a can't be opened"):
        ScoreFolder("nonsense://a")
