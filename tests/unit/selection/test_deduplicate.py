"""Copies of test images, against all distances computed at once."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from selection_support import SMALL

from mplframe.errors import DataError
from mplframe.io.location import locate
from mplframe.selection.config import DeduplicationConfig, SelectionConfig
from mplframe.selection.duplicates import closest_pairs, copies, merge_pairs, write_pairs
from mplframe.selection.score_files import ScoreFolder, ScoreWriter
from mplframe.selection.scores import ScoreBatch, ScoreFormat
from mplframe.selection.select import select

DIMENSIONS = 24


def embedded(folder: Path, vectors: np.ndarray, shards: int, **changes: object) -> ScoreFolder:
    settings = {"classes": 2, "top_p": 1, "checkpoint": "r18", "embedding": vectors.shape[1]}
    form = ScoreFormat.model_validate({**settings, "embedding_type": "float32", **changes})
    writer = ScoreWriter(str(folder), form)
    for number, part in enumerate(np.array_split(np.arange(len(vectors)), shards)):
        with writer.shard(f"{number:02d}.tar") as scores:
            size = len(part)
            chances = np.ones((size, 1))
            keys = [f"k{n}" for n in part]
            scores.add(ScoreBatch(keys, np.arange(size), np.zeros((size, 1), int), chances, embedding=vectors[part]))
    return ScoreFolder(str(folder))


@pytest.fixture
def vectors() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    test = rng.standard_normal((60, DIMENSIONS)).astype(np.float32)
    base = rng.standard_normal((900, DIMENSIONS)).astype(np.float32)
    copied = rng.choice(900, 40, replace=False)
    base[copied] = 3 * test[rng.integers(0, 60, 40)] + 0.2 * rng.standard_normal((40, DIMENSIONS))
    return base, test


def reference(base: np.ndarray, test: np.ndarray) -> list[tuple[str, str, float]]:
    """(key, test key, cosine), the closest first."""
    unit = [v.astype(np.float64) / np.linalg.norm(v.astype(np.float64), axis=1, keepdims=True) for v in (base, test)]
    cosine = unit[0] @ unit[1].T
    best = cosine.argmax(axis=1)
    found = [(f"k{n}", f"k{best[n]}", cosine[n, best[n]]) for n in range(len(base))]
    return sorted(found, key=lambda pair: -pair[2])


@pytest.mark.parametrize(("threshold", "closest"), [(0.9, 5), (0.9, 200), (0.99, 30)])
def test_pairs_are_those_of_all_distances(
    tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray], threshold: float, closest: int
) -> None:
    base, test = (embedded(tmp_path / name, v, 3) for name, v in zip(("base", "test"), vectors, strict=True))
    config = DeduplicationConfig(threshold=threshold, closest=closest, batch=16)
    pairs = closest_pairs(base, test, config)
    expected = reference(*vectors)
    above = sum(pair[2] >= threshold for pair in expected)
    assert 0 < above < 60
    assert len(pairs) == max(above, closest)
    expected = expected[: len(pairs)]
    assert pairs["key"].to_pylist() == [pair[0] for pair in expected]
    assert pairs["test_key"].to_pylist() == [pair[1] for pair in expected]
    np.testing.assert_allclose(pairs["similarity"].to_numpy(), [pair[2] for pair in expected], atol=1e-6)
    assert copies(pairs, config)["key"].to_pylist() == [pair[0] for pair in expected[:above]]


def test_parts_merge_into_the_whole_and_batches_do_not_matter(
    tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray]
) -> None:
    base, test = (embedded(tmp_path / name, v, 4) for name, v in zip(("base", "test"), vectors, strict=True))
    config = DeduplicationConfig(closest=100)
    whole = closest_pairs(base, test, config)
    parts = [
        closest_pairs(
            ScoreFolder(str(tmp_path / "base"), shards=shards), test, config.model_copy(update={"batch": size})
        )
        for shards, size in ((["03.tar"], 7), (["00.tar", "02.tar"], 1000), (["01.tar"], 1))
    ]
    assert merge_pairs(parts, config).equals(whole)


def test_copies_are_a_list_to_exclude(tmp_path: Path, vectors: tuple[np.ndarray, np.ndarray]) -> None:
    base, test = (embedded(tmp_path / name, v, 2) for name, v in zip(("base", "test"), vectors, strict=True))
    config = DeduplicationConfig(threshold=0.9, closest=100)
    found = copies(closest_pairs(base, test, config), config)
    write_pairs(found, locate(str(tmp_path / "copies.parquet")))
    exclude = SelectionConfig(exclude={"test": str(tmp_path / "copies.parquet")})
    report = select(base, str(tmp_path / "manifest.parquet"), exclude, resources=SMALL)
    assert report.dropped == {"test": len(found)}
    assert report.selected == 900 - len(found)


def test_equally_close_test_images_are_named_in_order(tmp_path: Path) -> None:
    one = np.eye(3, dtype=np.float32)
    base = embedded(tmp_path / "base", one[:2], 1)
    test = embedded(tmp_path / "test", np.concatenate([one[2:], one[:1], one[:1], one[1:2]]), 2)
    pairs = closest_pairs(base, test)
    assert pairs["test_key"].to_pylist() == ["k1", "k3"]
    assert pairs["similarity"].to_pylist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint": "r50"}, "have checkpoint r18, those of the test images r50; label both with one teacher"),
        ({"embedding": None}, "of the test images .* hold no embeddings"),
    ],
)
def test_embeddings_must_fit_together(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    base = embedded(tmp_path / "base", np.ones((2, 3)), 1)
    if "embedding" in changes:
        form = ScoreFormat(classes=2, top_p=1, checkpoint="r18")
        with ScoreWriter(str(tmp_path / "test"), form).shard("a.tar") as scores:
            scores.add(ScoreBatch(["k"], np.array([0]), np.array([[0]]), np.array([[1.0]])))
        test = ScoreFolder(str(tmp_path / "test"))
    else:
        test = embedded(tmp_path / "test", np.ones((2, 3)), 1, **changes)
    with pytest.raises(DataError, match=message):
        closest_pairs(base, test)


def test_an_embedding_without_direction_is_refused(tmp_path: Path) -> None:
    base = embedded(tmp_path / "base", np.array([[1.0, 0], [0, 0]]), 1)
    test = embedded(tmp_path / "test", np.ones((1, 2)), 1)
    with pytest.raises(DataError, match="the unlabeled images: embedding 1 has length 0"):
        closest_pairs(base, test)


def test_no_images_make_no_pairs(tmp_path: Path) -> None:
    empty = embedded(tmp_path / "base", np.ones((0, 2)), 1)
    test = embedded(tmp_path / "test", np.ones((1, 2)), 1)
    assert closest_pairs(empty, test).num_rows == 0
    with pytest.raises(DataError, match="holds no test images"):
        closest_pairs(test, empty)
    assert isinstance(closest_pairs(empty, test), pa.Table)
