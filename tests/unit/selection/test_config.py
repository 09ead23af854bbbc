"""What configs and shares refuse, and what shares give."""

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from selection_support import form, scored, write

from mplframe.errors import DataError, RunError, UserError
from mplframe.selection.config import ResourceConfig, SelectionConfig
from mplframe.selection.database import engine, optional
from mplframe.selection.ranking import shares
from mplframe.selection.report import BINS, Report
from mplframe.selection.select import select


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_k": 3, "total": 4}, "set one of the two"),
        ({"shares": "tags"}, "set total"),
        ({"balance": True}, "set top_k"),
        ({"candidates": "tagged", "top_p": 2}, "leave it out"),
        ({"exclude": {"top_k": "x"}}, "'top_k' is the name of a rule"),
        ({"threshold": 1.5}, "less than or equal to 1"),
        ({"top_k": 0}, "top_k"),
        ({"topk": 3}, "Extra inputs"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SelectionConfig.model_validate(settings)


def test_settings_survive_yaml() -> None:
    config = SelectionConfig(top_p=2, top_k=(1, 2), balance=True, exclude={"a": "b"})
    assert SelectionConfig.model_validate(config.dump()) == config


@given(counts=st.lists(st.integers(0, 1000), min_size=1, max_size=20), total=st.integers(1, 10**6))
def test_shares_sum_to_the_total_and_are_off_by_less_than_one(counts: list[int], total: int) -> None:
    if not any(counts):
        with pytest.raises(DataError, match="no image has a tag"):
            shares(counts, total)
        return
    found = shares(counts, total)
    assert sum(found) == total
    assert all(abs(n * sum(counts) - total * count) < sum(counts) for n, count in zip(found, counts, strict=True))


def test_a_report_with_a_lost_image_can_not_be_made() -> None:
    bins = (2, 1, *(0,) * (BINS - 2))
    tally = {"images": 3, "listed": {}, "dropped": {"threshold": 1}, "predicted": (3,), "candidates": (2,)}
    settings = {"dropped": {"threshold": 1, "top_k": 1}, "selected": 1, "rows": 1, "rows_by_class": (1,), "copies": 2}
    settings |= {"copies_by_class": (2,), "confidence": bins, "known": 0, "correct": 0}
    whole = {**settings, "tally": {**tally, "confidence": bins}}
    assert Report.model_validate(whole).selected == 1
    for changed, message in (
        ({"selected": 2}, "an image is unaccounted for"),
        ({"dropped": {"threshold": 0, "top_k": 2}}, "a rule is unaccounted for"),
        ({"rows": 2}, "a row is unaccounted for"),
        ({"copies": 1}, "a copy is unaccounted for"),
        ({"copies": 0, "copies_by_class": (0,)}, "fewer copies than rows"),
        ({"tally": {**whole["tally"], "predicted": (2,)}}, "an image has no class"),
        ({"tally": {**whole["tally"], "confidence": (2, *bins[2:], 0)}}, "an image has no confidence"),
    ):
        with pytest.raises(ValidationError, match=message):
            Report.model_validate({**whole, **changed})


def test_too_little_memory_and_scratch_are_errors_of_the_run(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    scores = write(tmp_path / "scores", scored(0, [2000, 2000], classes=500, top_p=20, levels=10**6), form(500, 20))
    config, out = SelectionConfig(top_p=20, top_k=1000), str(tmp_path / "manifest.parquet")
    with pytest.raises(RunError, match=r"has filled its memory .0.002 GiB.*set scratch to a disk"):
        select(scores, out, config, resources=ResourceConfig(memory_gib=0.002))
    with pytest.raises(UserError, match=r"none can't be used .No such file"):
        select(scores, out, config, resources=ResourceConfig(scratch=str(tmp_path / "none")))


def test_memory_that_runs_out_while_a_result_is_read_is_an_error_of_the_run_too() -> None:
    with engine(ResourceConfig(memory_gib=0.03)) as database:
        database.run("set max_temp_directory_size = '0KiB'")
        rows = database.batches("select md5(i::varchar) as a from range(3000000) t(i) order by a", 1000)
        with pytest.raises(RunError, match="has filled its memory"):
            collections.deque(rows, 0)


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(UserError, match="needs some-package, which isn't installed; pip install some-package"):
        optional("some_module", "some-package")
