import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from benchmarks.accuracy.comparison import compare, spread

share = st.floats(0.0, 1.0, width=32)


@given(st.lists(st.tuples(share, share), min_size=2, max_size=12), st.sampled_from([0.9, 0.95]))
def test_the_interval_is_that_of_the_paired_t_test(pairs: list[tuple[float, float]], confidence: float) -> None:
    a, b = ({seed: pair[side] for seed, pair in enumerate(pairs)} for side in (0, 1))
    found = compare(a, b, confidence=confidence)
    assert found is not None
    if len({x - y for x, y in pairs}) == 1:
        assert found.half_width == pytest.approx(0.0, abs=1e-12)
        return
    interval = ttest_rel(list(a.values()), list(b.values())).confidence_interval(confidence)
    assert found.mean - found.half_width == pytest.approx(interval.low, abs=1e-9)
    assert found.mean + found.half_width == pytest.approx(interval.high, abs=1e-9)


def test_only_seeds_that_both_have_are_compared() -> None:
    found = compare({0: 0.9, 1: 0.5, 2: 0.7, 7: 0.1}, {1: 0.4, 0: 0.9, 2: 0.8, 8: 0.0})
    assert found is not None
    assert (found.seeds, found.better, found.ties) == (3, 1, 1)
    assert found.mean == pytest.approx(0.0)
    assert compare({0: 1.0}, {1: 1.0}) is None


def test_one_seed_has_no_interval() -> None:
    found = compare({3: 0.5}, {3: 0.25})
    assert found is not None
    assert found.mean == 0.25
    assert math.isnan(found.half_width)
    assert math.isnan(spread({3: 0.5}))


def test_spread_is_the_sample_standard_deviation() -> None:
    assert spread({0: 1.0, 1: 3.0}) == pytest.approx(2**0.5)
