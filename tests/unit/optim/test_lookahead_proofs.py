"""Each lookahead over twenty steps of drawn shapes, groups, settings and seeds, in float64.

The truth is the optimizer's own step, an independent transcription of its formula, and autograd through that.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lookahead_cases import KINDS, cases
from lookahead_errors import displacement_error, formula_error, label_part_error, pullback_error, slope_error

every_kind = pytest.mark.parametrize("name", KINDS)
often = settings(max_examples=25, deadline=None, derandomize=True, database=None)
seldom = settings(often, max_examples=10)


@every_kind
@often
@given(data=st.data())
def test_the_displacement_is_what_the_optimizer_does(name: str, data: st.DataObject) -> None:
    assert displacement_error(data.draw(cases(name, zeros=0.1))) < 1e-12


@every_kind
@often
@given(data=st.data())
def test_the_displacement_is_the_published_formula(name: str, data: st.DataObject) -> None:
    assert formula_error(data.draw(cases(name, zeros=0.1))) < 1e-12


@every_kind
@often
@given(data=st.data())
def test_the_label_part_is_what_the_gradient_adds(name: str, data: st.DataObject) -> None:
    assert label_part_error(data.draw(cases(name, zeros=0.1))) < 1e-12


@every_kind
@often
@given(data=st.data())
def test_the_pullback_is_autograd_through_the_formula(name: str, data: st.DataObject) -> None:
    assert pullback_error(data.draw(cases(name))) < 1e-10


@every_kind
@seldom
@given(data=st.data())
def test_the_pullback_is_the_slope_of_the_optimizers_own_step(name: str, data: st.DataObject) -> None:
    assert slope_error(data.draw(cases(name))) < 1e-6
