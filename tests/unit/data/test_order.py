import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mplframe.data.stream import Order, generator

groups = st.lists(st.integers(0, 30), min_size=1, max_size=20).filter(any)


@given(groups, st.integers(0, 2**40), st.integers(1, 5), st.integers(0, 3))
def test_every_epoch_is_a_permutation(sizes: list[int], seed: int, window: int, epoch: int) -> None:
    order = Order(sizes, seed, "labeled", window)
    n = order.samples
    assert sorted(order.take(epoch * n, (epoch + 1) * n)) == list(range(n))


@given(groups, st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
def test_a_run_is_the_same_in_pieces_and_from_a_fresh_start(
    sizes: list[int], start: int, first: int, second: int
) -> None:
    order = Order(sizes, 7, "unlabeled", window=3)
    whole = order.take(start, start + first + second)
    assert whole.dtype == np.int64
    assert len(whole) == first + second
    pieces = [
        order.take(start, start + first),
        Order(sizes, 7, "unlabeled", 3).take(start + first, start + first + second),
    ]
    np.testing.assert_array_equal(whole, np.concatenate(pieces))


def test_one_sample_and_a_large_batch() -> None:
    np.testing.assert_array_equal(Order([1], 0, "labeled").take(5, 105), np.zeros(100))


def test_epochs_seeds_and_names_differ() -> None:
    line = Order([50], 0, "labeled")
    orders = [
        line.take(0, 50),
        line.take(50, 100),
        Order([50], 1, "labeled").take(0, 50),
        Order([50], 0, "x").take(0, 50),
    ]
    assert len({order.tobytes() for order in orders}) == 4


def test_samples_mix_within_a_window_and_only_there() -> None:
    line = Order([10] * 8, 3, "labeled", window=4).take(0, 80)
    first = set((line[:40] // 10).tolist())
    assert len(first) == 4
    assert first.isdisjoint((line[40:] // 10).tolist())
    assert len(set((line[:10] // 10).tolist())) > 1


def test_first_place_is_uniform() -> None:
    firsts = [int(Order([2, 2], seed, "labeled", window=1).take(0, 1)[0]) for seed in range(2000)]
    counts = np.bincount(firsts, minlength=4)
    assert ((counts - 500) ** 2 / 500).sum() < 16.3  # chi-squared, 3 degrees of freedom, 0.1 %


def test_paths_of_random_numbers_that_end_in_zero_differ() -> None:
    draws = {generator(1, *path).integers(2**60) for path in ((), (0,), (0, 0), ("a",), ("a", 0))}
    assert len(draws) == 5


def test_no_samples() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        Order([0, 0], 0, "labeled")
