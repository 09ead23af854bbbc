import json
import math

from mplframe.io.files import json_text


def test_what_is_not_a_finite_number_is_null() -> None:
    text = json_text({"a": math.nan, "b": [1.5, -math.inf, (2, math.inf)], "c": {"d": math.nan, "e": "NaN"}}, indent=2)
    assert json.loads(text) == {"a": None, "b": [1.5, None, [2, None]], "c": {"d": None, "e": "NaN"}}
