"""Selection against brute force."""

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection_support import SMALL, Scored, brute_force, form, rows, scored, write

from mplframe.errors import ConfigError, DataError
from mplframe.selection.config import ResourceConfig, SelectionConfig
from mplframe.selection.manifest import read_manifest_format
from mplframe.selection.select import select

limits = st.one_of(
    st.fixed_dictionaries({}),
    st.fixed_dictionaries({"top_k": st.integers(1, 12), "balance": st.booleans()}),
    st.fixed_dictionaries({"top_k": st.tuples(*[st.integers(0, 6)] * 5), "balance": st.booleans()}),
    st.fixed_dictionaries({"total": st.integers(1, 40), "shares": st.sampled_from(["none", "tags"])}),
)
who = st.one_of(
    st.fixed_dictionaries({"candidates": st.just("tagged")}), st.fixed_dictionaries({"top_p": st.integers(1, 3)})
)
rest = st.fixed_dictionaries(
    {
        "threshold": st.sampled_from([0.0, 0.125, 0.3, 0.7, 1.0]),
        "order": st.sampled_from(["probability", "random"]),
        "repeated_keys": st.sampled_from(["keep", "first"]),
        "seed": st.integers(0, 3),
    }
)
configs = st.builds(
    lambda *parts: SelectionConfig(**{k: v for part in parts for k, v in part.items()}), limits, who, rest
)


@settings(max_examples=60, deadline=None)
@given(
    config=configs,
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(0, 15), min_size=1, max_size=4),
    levels=st.sampled_from([1, 4, 1000]),
    keys=st.sampled_from([10, 10**9]),
)
def test_any_selection_is_what_brute_force_selects(
    config: SelectionConfig, seed: int, sizes: list[int], levels: int, keys: int
) -> None:
    images = scored(seed, [1, *sizes], levels=levels, keys=keys)
    with TemporaryDirectory() as folder:
        scores = write(f"{folder}/scores", images, form())
        out, dropped = f"{folder}/manifest.parquet", f"{folder}/dropped.parquet"
        try:
            expected, expected_drops = brute_force(images, config)
        except ZeroDivisionError:
            with pytest.raises(DataError, match="no image has a tag"):
                select(scores, out, config, resources=SMALL)
            return
        report = select(scores, out, config, resources=SMALL, dropped=dropped)
        assert rows(out) == expected
        assert {rule: n for rule, n in report.dropped.items() if n} == {r: n for r, n in expected_drops.items() if n}
        assert (report.rows, report.copies) == (len(expected), sum(row[-1] for row in expected))
        listed = {(row["shard"], row["index"]) for row in pq.read_table(dropped).to_pylist()}
        kept = {row[:2] for row in expected}
        assert not listed & kept
        assert listed | kept == {(image.shard, image.index) for image in images}


def test_lists_exclude_by_key_and_by_place(tmp_path: Path) -> None:
    images = scored(1, [32, 29, 31], keys=8)
    scores = write(tmp_path / "scores", images, form())
    keys, places = {"k1", "k3", "no such key"}, {(image.shard, image.index) for image in images[5:20]}
    (tmp_path / "labeled.txt").write_text("\n".join(sorted(keys)) + "\n\n")
    shards, numbers = zip(*sorted(places), strict=True)
    # Pairs of `deduplicate` have a key too, which here names other images as well: the place is what counts.
    pq.write_table(pa.table({"key": ["k1"] * 15, "shard": shards, "index": numbers}), tmp_path / "copies.parquet")
    config = SelectionConfig(
        top_p=2,
        top_k=4,
        threshold=0.4,
        exclude={"copies": str(tmp_path / "copies.parquet"), "labeled": str(tmp_path / "labeled.txt")},
    )
    report = select(scores, str(tmp_path / "manifest.parquet"), config, resources=SMALL)
    expected, dropped = brute_force(images, config, {"copies": places, "labeled": keys})
    assert rows(tmp_path / "manifest.parquet") == expected
    assert report.dropped == {rule: dropped[rule] for rule in ("copies", "labeled", "threshold", "top_k")}
    assert report.tally.listed == {"copies": 15, "labeled": 3}
    assert min(report.dropped.values()) > 0


def test_a_list_without_keys_or_places_is_refused(tmp_path: Path) -> None:
    scores = write(tmp_path / "scores", scored(0, [3]), form())
    pq.write_table(pa.table({"name": ["a"]}), tmp_path / "list.parquet")
    for name, message in (("list.parquet", "has the columns name; a list has key"), ("none.txt", "doesn't exist")):
        config = SelectionConfig(exclude={"labeled": str(tmp_path / name)})
        with pytest.raises(DataError, match=message):
            select(scores, str(tmp_path / "manifest.parquet"), config, resources=SMALL)


@pytest.mark.parametrize("order", ["probability", "random"])
def test_neither_threads_nor_memory_nor_the_order_of_files_change_a_byte(tmp_path: Path, order: str) -> None:
    rng = np.random.default_rng(0)
    images = [
        Scored(f"k{n}", f"{shard}.tar", n, (a, b), (chance, chance / 4))
        for shard, n in itertools.product("abcdef", range(4000))
        for a, b, chance in [(*rng.choice(50, 2, replace=False).tolist(), int(rng.integers(16)) / 16)]
    ]
    like = form(classes=50, top_p=2, tags=False, label=False)
    one = write(tmp_path / "one", images, like)
    other = write(tmp_path / "other", images, like)
    other.files = other.files[::-1]
    config = SelectionConfig(top_p=2, top_k=333, balance=True, order=order, seed=7)
    manifests = []
    for scores, resources in (
        (one, ResourceConfig(memory_gib=2, threads=1)),
        (one, ResourceConfig(memory_gib=0.05, threads=1)),
        (other, ResourceConfig(memory_gib=1, threads=4)),
    ):
        manifests.append(tmp_path / f"{len(manifests)}.parquet")
        select(scores, str(manifests[-1]), config, resources=resources)
    assert len({path.read_bytes() for path in manifests}) == 1
    assert rows(manifests[0]) == brute_force(images, config, classes=50)[0]


def test_the_seed_draws_who_is_repeated(tmp_path: Path) -> None:
    images = [Scored(f"k{n}", "a.tar", n, (0,), (0.5,)) for n in range(20)]
    scores = write(tmp_path / "scores", images, form(classes=2, top_p=1))
    repeats = {}
    for seed in (1, 2):
        config = SelectionConfig(top_k=50, balance=True, seed=seed)
        report = select(scores, str(tmp_path / "manifest.parquet"), config, resources=SMALL)
        assert report.copies_by_class == (50, 0)
        assert report.empty_classes == [1]
        repeats[seed] = [row[-1] for row in rows(tmp_path / "manifest.parquet")]
        assert sorted(repeats[seed]) == [2] * 10 + [3] * 10
    assert repeats[1] != repeats[2]


def test_distributions_come_along(tmp_path: Path) -> None:
    images = scored(3, [9, 0, 7, 8])
    scores = write(tmp_path / "scores", images, form(distribution="float16"))
    config = SelectionConfig(top_p=3, top_k=3, distribution=True)
    select(scores, str(tmp_path / "manifest.parquet"), config, resources=SMALL)
    found = pq.read_table(tmp_path / "manifest.parquet").to_pylist()
    assert len(found) == 15
    for row in found:
        assert row["distribution"] == [row["index"] + c / 16 for c in range(5)]


def test_the_report_says_where_the_scores_come_from_and_how_right_they_are(tmp_path: Path) -> None:
    images = scored(4, [30, 30], levels=64)
    scores = write(tmp_path / "scores", images, form())
    config = SelectionConfig(top_p=2, threshold=0.2)
    report = select(scores, str(tmp_path / "manifest.parquet"), config, resources=SMALL)
    found = read_manifest_format(str(tmp_path / "manifest.parquet"))
    assert (found.config, found.report, found.scores) == (config, report, form())
    table = pq.read_table(tmp_path / "manifest.parquet").to_pylist()
    truths = {(image.shard, image.index): image.label for image in images}
    known = [(truths[row["shard"], row["index"]], row["label"]) for row in table]
    assert [row["truth"] for row in table] == [None if truth < 0 else truth for truth, _ in known]
    assert (report.known, report.correct) == (sum(t >= 0 for t, _ in known), sum(t == label for t, label in known))
    edges = np.linspace(0, 1, 21)
    assert report.confidence == tuple(np.histogram([row["probability"] for row in table], edges)[0])
    assert report.tally.confidence == tuple(np.histogram([image.probabilities[0] for image in images], edges)[0])
    assert report.tally.predicted == tuple(np.bincount([image.classes[0] for image in images], minlength=5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_p": 4}, "top_p is 4, but the scores hold the 3 best"),
        ({"top_k": (1, 2)}, "top_k lists 2 numbers, but the teacher knows 5 classes"),
        ({"candidates": "tagged"}, "need scores with tags"),
        ({"total": 3, "shares": "tags"}, "need scores with tags"),
        ({"distribution": True}, "needs scores with the distribution"),
    ],
)
def test_scores_must_have_what_the_config_asks_for(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    scores = write(tmp_path / "scores", scored(0, [3]), form(tags=False))
    with pytest.raises(ConfigError, match=message):
        select(scores, str(tmp_path / "manifest.parquet"), SelectionConfig.model_validate(settings), resources=SMALL)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("classes", 5, "class is 5, of 0 to 4"),
        ("probabilities", float("nan"), "probability isn't in"),
        ("probabilities", -1.0, "probability isn't in"),
        ("probabilities", 1.5, "probability isn't in"),
    ],
)
def test_scores_of_other_writers_are_checked(tmp_path: Path, column: str, value: float, message: str) -> None:
    scores = write(tmp_path / "scores", scored(0, [4], top_p=1), form(top_p=1))
    [file] = (tmp_path / "scores").iterdir()
    table = pq.read_table(file)
    lists = table[column].to_pylist()
    lists[2] = [value]
    at = table.schema.names.index(column)
    pq.write_table(table.set_column(at, column, pa.array(lists, table.schema.field(column).type)), file)
    with pytest.raises(DataError, match=message):
        select(scores, str(tmp_path / "manifest.parquet"), SelectionConfig(top_k=2), resources=SMALL)
    assert not (tmp_path / "manifest.parquet").exists()
