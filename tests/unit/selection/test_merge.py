"""Manifests of parts, merged, are the manifest of the whole."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection_support import SMALL, form, rows, scored, write

from mplframe.errors import DataError
from mplframe.selection.config import SelectionConfig
from mplframe.selection.score_files import ScoreFolder
from mplframe.selection.select import merge, select


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    parts=st.lists(st.integers(0, 2), min_size=5, max_size=5),
    limit=st.sampled_from([{}, {"top_k": 4}, {"top_k": 9, "balance": True}, {"total": 17}, {"top_k": (0, 1, 2, 3, 4)}]),
    candidates=st.sampled_from([{"top_p": 2}, {"candidates": "tagged"}]),
    order=st.sampled_from(["probability", "random"]),
)
def test_merging_is_exact(seed: int, parts: list[int], limit: dict, candidates: dict, order: str) -> None:
    images = scored(seed, [9, 0, 7, 12, 3], levels=4)
    config = SelectionConfig(**limit, **candidates, order=order, threshold=0.3, seed=seed)
    with TemporaryDirectory() as folder:
        scores = write(f"{folder}/scores", images, form())
        shards = sorted({image.shard for image in images})
        wanted = [[shard for shard, at in zip(shards, parts, strict=False) if at == part] for part in range(3)]
        manifests = []
        for part in filter(None, wanted):
            manifests.append(f"{folder}/{len(manifests)}.parquet")
            select(ScoreFolder(f"{folder}/scores", shards=part), manifests[-1], config, resources=SMALL)
        whole = select(scores, f"{folder}/whole.parquet", config, resources=SMALL)
        merged = merge(manifests, f"{folder}/merged.parquet", resources=SMALL)
        assert merged == whole
        assert rows(f"{folder}/merged.parquet") == rows(f"{folder}/whole.parquet")


def part(folder: Path, name: str, shards: list[str], **changes: object) -> str:
    config = SelectionConfig.model_validate({"top_p": 2, "top_k": 3, **changes})
    out = str(folder / f"{name}.parquet")
    select(ScoreFolder(str(folder / "scores"), shards=shards), out, config, resources=SMALL)
    return out


def test_distributions_are_fetched_again(tmp_path: Path) -> None:
    images = scored(0, [5, 6])
    scores = write(tmp_path / "scores", images, form(distribution="float32"))
    shards = sorted({image.shard for image in images})
    manifests = [part(tmp_path, shard[12:14], [shard], distribution=True) for shard in shards]
    with pytest.raises(DataError, match="give the folder of scores"):
        merge(manifests, str(tmp_path / "merged.parquet"), resources=SMALL)
    merge(manifests, str(tmp_path / "merged.parquet"), scores=scores, resources=SMALL)
    for row in pq.read_table(tmp_path / "merged.parquet").to_pylist():
        assert row["distribution"] == [row["index"] + c / 16 for c in range(5)]


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    images = scored(0, [5, 6])
    write(tmp_path / "scores", images, form())
    a, b = sorted({image.shard for image in images})
    one = part(tmp_path, "one", [a])
    out = str(tmp_path / "merged.parquet")
    for manifests, message in (
        ([one, part(tmp_path, "config", [b], seed=1)], "selected with another config"),
        ([one, part(tmp_path, "again", [a, b])], f"both hold images of {a}"),
        ([part(tmp_path, "tags", [a], top_k=None, total=3, shares="tags")], "parts can't be merged"),
        ([part(tmp_path, "first", [a], repeated_keys="first")], "select from all scores at once"),
        ([str(next((tmp_path / "scores").iterdir()))], "is no manifest"),
    ):
        with pytest.raises(DataError, match=message):
            merge(manifests, out, resources=SMALL)
    write(tmp_path / "other" / "scores", images, form(checkpoint="sha256:1"))
    with pytest.raises(DataError, match="checkpoint sha256:1 instead of sha256:0"):
        merge([one, part(tmp_path / "other", "two", [b])], out, resources=SMALL)
