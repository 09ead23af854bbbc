import math

import pytest
import torch

from mplframe.backends.single import Single
from mplframe.contracts.batch import Metrics
from mplframe.engine.meter import Meter, UnusedTerms
from mplframe.errors import RunError


def meter() -> Meter:
    return Meter(Single(Single.Config(device="cpu")))


def metrics(**values: float) -> Metrics:
    return {name.replace("__", "/"): torch.tensor(value) for name, value in values.items()}


def test_means_are_over_the_window_since_the_last() -> None:
    one = meter()
    for value in (1.0, 2.0, 6.0):
        one.add(metrics(student__loss=value))
    assert one.means(3) == {"student/loss": 3.0}
    one.add(metrics(student__loss=10.0))
    assert one.means(4) == {"student/loss": 10.0}
    assert one.means(5) == {}


def test_a_metric_that_is_not_in_every_step_is_averaged_over_its_own() -> None:
    one = meter()
    one.add(metrics(a=1.0, b=5.0))
    one.add(metrics(a=3.0))
    assert one.means(2) == {"a": 2.0, "b": 5.0}


def test_unknown_values_are_left_out_of_the_mean() -> None:
    one = meter()
    for value in (math.nan, 0.5, math.nan, 1.0):
        one.add(metrics(teacher__label_agreement=value, teacher__other=math.nan))
    assert one.means(4) == {"teacher/label_agreement": 0.75}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["loss", "student/loss", "student/labeled_loss", "feedback/h"])
def test_a_loss_that_is_not_finite_ends_the_run(name: str, value: float) -> None:
    one = meter()
    one.add({name: torch.tensor(value)})
    with pytest.raises(RunError, match=rf"{name} is (nan|inf|-inf) by step 7: training has diverged"):
        one.check(7)


@pytest.mark.parametrize("name", ["teacher/strength", "student/depth", "loss/teacher", "student/top_h"])
def test_other_metrics_may_be_unknown(name: str) -> None:
    one = meter()
    one.add({name: torch.tensor(math.nan)})
    assert one.means(1) == {}


def test_a_window_goes_on_where_it_was_saved() -> None:
    first, second = meter(), meter()
    for value in (1.0, 2.0):
        first.add(metrics(loss=value, other=math.nan))
    first.check(2)
    second.load_state_dict(first.state_dict())
    for one in (first, second):
        one.add(metrics(loss=6.0))
    assert first.means(3) == second.means(3) == {"loss": 3.0}


def test_what_is_saved_is_not_what_goes_on_counting() -> None:
    one = meter()
    one.add(metrics(loss=1.0))
    one.check(1)
    state = one.state_dict()
    one.add(metrics(loss=2.0))
    one.check(2)
    assert state == {"loss": [1.0]}


def test_sums_of_many_values_stay_exact() -> None:
    one = meter()
    for _ in range(1000):
        one.add({"a": torch.tensor(0.1, dtype=torch.float64)})
    assert one.means(1000)["a"] == 0.1


def test_a_term_that_uses_nothing_for_long_is_told_of_once() -> None:
    watched = UnusedTerms()
    assert watched.look({"student/fixmatch_used": 0.0, "student/loss": 0.0}, 100, window=100) == []
    (said,) = watched.look({"student/fixmatch_used": 0.0}, 200, window=100)
    assert said.startswith("student/fixmatch used 0.0% of its samples in the 200 steps to 200")
    assert watched.look({"student/fixmatch_used": 0.0}, 300, window=100) == []


def test_a_term_that_is_used_in_between_is_not_told_of() -> None:
    watched = UnusedTerms()
    for step, share in ((150, 0.0), (300, 0.02), (450, 0.0)):
        assert watched.look({"teacher/uda_used": share}, step, window=150) == []


def test_a_quotient_is_that_of_all_steps_samples() -> None:
    meter = Meter(Single(Single.Config(device="cpu")))
    meter.add({"label_agreement": torch.tensor(0.25), "label_agreement_of": torch.tensor(0.5)})
    meter.add({"label_agreement": torch.tensor(0.0), "label_agreement_of": torch.tensor(0.0)})
    assert meter.means(2) == {"label_agreement": 0.5}
