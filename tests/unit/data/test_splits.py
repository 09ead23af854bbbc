import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mplframe.data.packing.choice import (
    by_shard,
    cifar10_4k,
    imagenet,
    in_order,
    inception_shards,
    rest,
    stratified,
    stratified_count,
    stratified_fraction,
    svhn_1k,
)
from mplframe.errors import DataError

LABELS = np.repeat(np.arange(4), [10, 20, 30, 40])


@given(sizes=st.lists(st.integers(5, 30), min_size=2, max_size=6), per_class=st.integers(1, 5), seed=st.integers(0, 9))
def test_stratified_takes_the_same_number_of_each_class(sizes: list[int], per_class: int, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    chosen = stratified(labels, per_class, seed)
    assert np.bincount(labels[chosen]).tolist() == [per_class] * len(sizes)
    assert (np.diff(chosen) > 0).all()
    assert chosen.tolist() == stratified(labels, per_class, seed).tolist()


@given(count=st.integers(4, 40), seed=st.integers(0, 9))
def test_stratified_count_is_as_equal_as_possible(count: int, seed: int) -> None:
    chosen = stratified_count(LABELS, count, seed)
    shares = np.bincount(LABELS[chosen])
    assert len(set(chosen.tolist())) == count
    assert shares.max() - shares.min() <= 1


def test_another_seed_chooses_others() -> None:
    assert stratified(LABELS, 3, 0).tolist() != stratified(LABELS, 3, 1).tolist()


def test_which_classes_give_one_more_depends_on_the_seed() -> None:
    extra = {int(np.bincount(LABELS[stratified_count(LABELS, 5, seed)]).argmax()) for seed in range(40)}
    assert extra == {0, 1, 2, 3}


def test_fraction_is_of_each_class_and_at_least_one() -> None:
    assert np.bincount(LABELS[stratified_fraction(LABELS, 0.1, 0)]).tolist() == [1, 2, 3, 4]
    assert np.bincount(LABELS[stratified_fraction(LABELS, 0.01, 0)]).tolist() == [1, 1, 1, 1]


def test_unknown_labels_are_never_chosen() -> None:
    labels = np.where(np.arange(100) % 2, LABELS, -1)
    for chosen in (stratified(labels, 5, 0), stratified_count(labels, 20, 0), stratified_fraction(labels, 0.5, 0)):
        assert (labels[chosen] >= 0).all()


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (lambda: stratified(LABELS, 11, 0), r"can't choose 11 image\(s\) of class 0: it has 10"),
        (lambda: stratified(LABELS, 0, 0), "at least 1"),
        (lambda: stratified(np.full(5, -1), 1, 0), "no image has a label"),
        (lambda: stratified_count(LABELS, 3, 0), "3 images of 4 classes"),
        (lambda: stratified_count(LABELS, 99, 0), "of class 0: it has 10"),
        (lambda: stratified_fraction(LABELS, 1.0, 0), "above 0 and below 1"),
        (lambda: stratified_fraction(np.array([0, 1, 1, 1]), 0.5, 0), r"none of the 1 image\(s\) of class 0"),
        (lambda: in_order(10, labeled=5, held_out=5), "too few"),
        (lambda: cifar10_4k(10_000), "50,000 training images, there are 10,000"),
        (lambda: svhn_1k(73_257, 5), "531,131 extra images"),
        (lambda: imagenet(10, 5), "1,281,167 training images"),
        (lambda: by_shard([np.arange(3)] * 4, 2, 2), "2 of 4 shards can't be labeled; at least 1 and less than 2"),
    ],
)
def test_what_cannot_be_chosen_is_a_clear_error(choose, message: str) -> None:
    with pytest.raises(DataError, match=message):
        choose()


def test_rest() -> None:
    assert rest(6, np.array([1, 3]), np.array([0])).tolist() == [2, 4, 5]


def test_cifar10_4k_is_that_of_the_paper() -> None:
    """MPL v4, appendix C.1 and section 3.2: 5,000 removed, the next 4,000 labeled, 41,000 unlabeled."""
    split = cifar10_4k()
    assert [len(split.held_out), len(split.labeled), len(split.unlabeled)] == [5_000, 4_000, 41_000]
    assert split.labeled[[0, -1]].tolist() == [5_000, 8_999]
    assert split.unlabeled[[0, -1]].tolist() == [9_000, 49_999]


def test_svhn_1k_has_about_603_000_unlabeled_images() -> None:
    """MPL v4, section 3.2."""
    split = svhn_1k()
    assert split.labeled.tolist() == list(range(1_000))
    assert len(split.unlabeled) == 603_388
    assert len(split.held_out) == 0


@pytest.mark.parametrize(("percent", "shards"), [(10, 102), (20, 204)])
def test_imagenet_is_that_of_the_paper(percent: int, shards: int) -> None:
    """MPL v4, appendix C.1: the first 102 of 1,024 shards, or 204; the last 20 reserved, "roughly 25,000" images."""
    split = imagenet(percent)
    sizes = np.array([len(split.labeled), len(split.held_out)])
    assert np.abs(sizes - np.array([shards, 20]) * 1_281_167 / 1_024).max() < 20
    everything = np.concatenate([split.labeled, split.unlabeled, split.held_out])
    assert np.array_equal(np.sort(everything), np.arange(1_281_167))


def test_shards_are_made_as_by_inceptions_script() -> None:
    """Every image in one shard, and shards equal to within an image. The order was taken from Python 2.7's
    `random.seed(12345); random.shuffle(list(range(10)))`: the swaps of its loop, written out."""
    shards = inception_shards(1_000, 16)
    assert sorted(np.concatenate(shards).tolist()) == list(range(1_000))
    assert {len(shard) for shard in shards} <= {62, 63}
    draws = random.Random(12_345)
    expected = list(range(10))
    for last in reversed(range(1, 10)):
        other = int(draws.random() * (last + 1))
        expected[last], expected[other] = expected[other], expected[last]
    assert np.concatenate(inception_shards(10, 8)).tolist() == expected


def test_uses_of_shards_do_not_overlap() -> None:
    split = by_shard([np.array([3, 0]), np.array([1]), np.array([4, 2])], 1, 1)
    assert [split.labeled.tolist(), split.unlabeled.tolist(), split.held_out.tolist()] == [[0, 3], [1], [2, 4]]
