"""Samples that an earlier stage chose and labeled, fed like any split."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mplframe.data.manifests import AssignedSplit
from mplframe.data.stream import Stream
from tests.unit.data.data_support import ArraySplit, image

SPLIT = ArraySplit([image(i) for i in range(10)], groups=[4, 1, 5])


def test_chosen_samples_come_with_their_class() -> None:
    split = AssignedSplit(SPLIT, np.array([1, 4, 4, 9]), np.array([2, 0, 0, 1]), classes=3)
    assert split.group_sizes == [1, 2, 1]
    samples = split.read([3, 0, 2])
    assert [sample.key for sample in samples] == ["s9", "s1", "s4"]
    assert [sample.target.tolist() for sample in samples if sample.target is not None] == [
        [0, 1, 0],
        [0, 0, 1],
        [1, 0, 0],
    ]
    assert [sample.label for sample in samples] == [9, 1, 4]  # the truth stays beside it, for diagnostics


def test_probabilities_are_passed_on_as_they_are() -> None:
    odds = np.array([[0.25, 0.75], [1.0, 0.0]], np.float16)
    split = AssignedSplit(SPLIT, np.array([0, 9]), odds, classes=2)
    assert split.group_sizes == [1, 1]
    (sample,) = split.read([0])
    assert sample.target is not None
    assert sample.target.dtype == np.float32
    assert sample.target.tolist() == [0.25, 0.75]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30).map(sorted))
def test_groups_are_those_of_the_split(numbers: list[int]) -> None:
    split = AssignedSplit(SPLIT, np.array(numbers), np.zeros(len(numbers), np.int64), classes=2)
    owners = [next(g for g, end in enumerate((4, 5, 10)) if n < end) for n in numbers]
    assert split.group_sizes == [owners.count(g) for g in range(3) if g in owners]
    assert [split.read([i])[0].key for i in range(len(split))] == [f"s{n}" for n in numbers]


def test_targets_go_with_their_samples_through_a_stream() -> None:
    split = AssignedSplit(SPLIT, np.arange(10), np.arange(10) % 3, classes=3)
    fed = Stream(
        split, name="x", seed=1, batch=7, size=8, channels=3, fit="exact", weak=[], strong=[], want_strong=False
    )
    for step in range(4):
        samples = fed.samples(step)
        assert samples.targets is not None
        assert samples.labels is not None
        assert torch.equal(samples.targets.argmax(-1), samples.labels % 3)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="2 samples are chosen but 1 targets"):
        AssignedSplit(SPLIT, np.array([0, 1]), np.array([0]), classes=2)
    with pytest.raises(ValueError, match="ascend"):
        AssignedSplit(SPLIT, np.array([1, 0]), np.array([0, 0]), classes=2)
