from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from mplframe.contracts.data import SplitName
from mplframe.data.sources.two_moons import REACH, TwoMoons, coordinates, pixels, two_moons


def everything(source: TwoMoons, name: SplitName) -> tuple[np.ndarray, np.ndarray]:
    samples = source.split(name).read(range(len(source.split(name))))
    return np.stack([sample.image for sample in samples]), np.array([sample.label for sample in samples])


def test_without_noise_the_points_lie_on_their_half_circles() -> None:
    points, labels = two_moons(1001, 0.0, np.random.default_rng(0))
    assert np.bincount(labels).tolist() == [500, 501]
    upper, lower = (points[labels == c] + [0.5, 0.25] for c in (0, 1))
    np.testing.assert_allclose(np.hypot(*upper.T), 1.0)
    np.testing.assert_allclose(np.hypot(*(lower - [1.0, 0.5]).T), 1.0)
    assert upper[:, 1].min() >= 0
    assert lower[:, 1].max() <= 0.5


def test_noise_is_what_it_says() -> None:
    """The distance from the circle is the noise's part along the radius."""
    points, labels = two_moons(20_000, 0.1, np.random.default_rng(1))
    radius = np.hypot(*(points[labels == 0] + [0.5, 0.25]).T)
    assert (radius - 1.0).std() == pytest.approx(0.1, rel=0.03)


def test_pixels_keep_the_coordinates_far_below_the_noise() -> None:
    points, _ = two_moons(20_000, 0.1, np.random.default_rng(2))
    error = coordinates(pixels(points)) - points
    assert np.abs(error).max() <= 2 * REACH / 255 / 2 + 1e-12
    assert error.std() == pytest.approx(2 * REACH / 255 / 12**0.5, rel=0.02)
    assert error.std() < 0.05 * 0.1


def test_pixels_by_hand_and_cut_off_outside() -> None:
    found = pixels(np.array([[-2.0, 2.0], [0.0, -3.0], [9.0, 1.0]]))
    assert found.shape == (3, 1, 1, 3)
    assert found[:, 0, 0].tolist() == [[0, 255, 0], [128, 0, 0], [255, 191, 0]]


def test_splits() -> None:
    source = TwoMoons()
    labeled, unlabeled, test = (everything(source, name) for name in ("labeled", "unlabeled", "test"))
    assert [np.bincount(labels).tolist() for _, labels in (labeled, unlabeled, test)] == [
        [3, 3],
        [997, 997],
        [1000] * 2,
    ]
    points, classes = two_moons(2000, 0.1, np.random.default_rng([0, 0]))
    expected = sorted([*p.tolist(), c] for p, c in zip(pixels(points)[:, 0, 0], classes, strict=True))
    together = [(np.concatenate(parts)) for parts in zip(labeled, unlabeled, strict=True)]
    assert sorted([*p.tolist(), c] for p, c in zip(together[0][:, 0, 0], together[1], strict=True)) == expected


def test_settings_choose() -> None:
    source = TwoMoons(TwoMoons.Config(points=100, labeled_per_class=1, test=7))
    assert [len(source.split(name)) for name in ("labeled", "unlabeled", "test")] == [2, 98, 7]
    first, second = (everything(TwoMoons(TwoMoons.Config(split_seed=s)), "labeled")[0] for s in (0, 1))
    assert (first != second).any()
    again = everything(TwoMoons(TwoMoons.Config(split_seed=1, test=9)), "labeled")[0]
    np.testing.assert_array_equal(again, second)


def test_the_fingerprint_tells_data_sets_apart() -> None:
    one, other = (TwoMoons(TwoMoons.Config(split_seed=s)).fingerprint() for s in (0, 1))
    assert one != other
    assert one["points"] == 2000


@pytest.mark.parametrize("bad", [{"points": 3}, {"labeled_per_class": 0}, {"noise": 0.3}, {"noise": -1}, {"test": 1}])
def test_bad_settings_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(bad))):
        TwoMoons.Config(**bad)


def test_no_moon_may_be_labeled_whole() -> None:
    with pytest.raises(ValidationError, match="choose at most 4, or more points"):
        TwoMoons.Config(points=10, labeled_per_class=5)
