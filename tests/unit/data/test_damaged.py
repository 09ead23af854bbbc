"""Going on without damaged samples: which stand in for them, what is listed, where it ends."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mplframe.contracts.data import Damage, Sample, Split
from mplframe.data.damaged import Damaged, tolerant, usable
from mplframe.data.stream import evaluation_batches
from mplframe.errors import DamageError, DataError
from tests.unit.data.data_support import ArraySplit, image


class Broken(ArraySplit):
    """Some samples can't be read."""

    def __init__(self, total: int, broken: set[int], damage: Sequence[Damage] = ()) -> None:
        super().__init__([image(i) for i in range(total)])
        self.broken, self._damage = broken, damage

    @property
    def damage(self) -> Sequence[Damage]:
        return self._damage

    def key(self, index: int) -> str:
        return f"s{index}"

    def read(self, indices: Sequence[int]) -> list[Sample]:
        for i in indices:
            if i in self.broken:
                raise DamageError(f"s{i}: the image can't be decoded; replace or remove it")
        return super().read(indices)


def keys(split: Split, indices: Sequence[int]) -> list[str]:
    return [sample.key for sample in split.read(indices)]


def test_nothing_is_wrapped_where_nothing_may_be_damaged() -> None:
    split = Broken(3, {1})
    assert tolerant(split, "labeled", Damaged(0)) is split


@given(total=st.integers(1, 12), data=st.data())
def test_the_next_usable_sample_stands_in(total: int, data: st.DataObject) -> None:
    broken = data.draw(st.sets(st.integers(0, total - 1), max_size=total - 1))
    split = tolerant(Broken(total, broken), "labeled", Damaged(total))
    for i in range(total):
        heir = next(j % total for j in range(i, i + total) if j % total not in broken)
        assert keys(split, [i]) == [f"s{heir}"]
    assert len(split) == total


def test_evaluation_leaves_them_out() -> None:
    split = tolerant(Broken(6, {0, 1, 4}), "test", Damaged(3))
    assert [(i, sample.key) for i, sample in usable(split, range(6))] == [(2, "s2"), (3, "s3"), (5, "s5")]
    batches = list(evaluation_batches(split, batch_size=2, size=8, channels=3, fit="exact", eval_crop=1.0, workers=1))
    assert [batch.keys for batch in batches] == [["s2", "s3"], ["s5"]]
    assert [batch.numbers for batch in batches] == [[2, 3], [5]]


def test_one_too_many_stops_and_says_what_to_do() -> None:
    damaged = Damaged(1)
    split = tolerant(Broken(6, {1, 4}), "labeled", damaged)
    assert keys(split, [1, 1, 0]) == ["s2", "s2", "s0"]
    with pytest.raises(DataError, match=r"s4: .*decoded.*1 others.*max_damaged=1.*data verify"):
        split.read([3, 4])
    assert damaged.counts == {"labeled": 1}


def test_what_was_found_on_opening_counts() -> None:
    cut = Damage("", "part-3.tar", "part-3.tar is cut off after 14 samples; fetch it again")
    with pytest.raises(DataError, match=r"cut off after 14.*max_damaged=0"):
        tolerant(Broken(2, set(), [cut]), "unlabeled", Damaged(0))
    damaged = Damaged(1)
    assert keys(tolerant(Broken(2, set(), [cut]), "unlabeled", damaged), [0, 1]) == ["s0", "s1"]
    assert damaged.counts == {"unlabeled": 1}


def test_a_split_of_nothing_but_damage_says_so() -> None:
    with pytest.raises(DataError, match="no sample that can be used"):
        tolerant(Broken(2, {0, 1}), "labeled", Damaged(9)).read([0])


def test_errors_that_are_no_damage_pass_through() -> None:
    class Gone(ArraySplit):
        def read(self, indices: Sequence[int]) -> list[Sample]:
            raise DataError("the store is out of reach")

    with pytest.raises(DataError, match="out of reach"):
        tolerant(Gone([image(0)]), "labeled", Damaged(9)).read([0])


def test_the_list_outlives_the_process(tmp_path: Path) -> None:
    file = tmp_path / "damaged.jsonl"
    first = Damaged(5)
    tolerant(Broken(3, {0}), "labeled", first).read([0])
    first.keep(file)
    tolerant(Broken(3, {1}), "test", first).read([1])
    with file.open("a") as torn:
        torn.write('{"split": "lab')
    again = Damaged(5)
    tolerant(Broken(3, {0}), "labeled", again).read([0])
    again.keep(file)
    assert again.counts == {"labeled": 1, "test": 1}
    tolerant(Broken(3, {2}), "test", again).read([2])
    listed = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(entry["split"], entry["key"]) for entry in listed] == [("labeled", "s0"), ("test", "s1"), ("test", "s2")]
    assert all("decoded" in entry["reason"] for entry in listed)
