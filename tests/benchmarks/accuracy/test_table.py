import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.accuracy.table import columns, table

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "accuracy.md"
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("accuracy*.json"))


def run(variant: str, seed: int, top1: float, **more: Any) -> dict[str, Any]:
    stages = {
        "mpl": {"student": {"top1": top1 - 0.01}, "teacher": {"top1": 0.5}},
        "finetune": {"student": {"top1": top1}},
    }
    found = {"variant": variant, "seed": seed, "top1": top1, "seconds": 10 + seed, "images": 2000, "baselines": {}}
    return {**found, "stages": stages, **more}


SUPERVISED = {"baselines": {"supervised": {"top1": 0.25}}}
RUNS = [run("off", 0, 0.5), run("exact", 0, 0.75, **SUPERVISED), run("off", 1, 0.5), run("exact", 1, 0.5, **SUPERVISED)]


def test_a_row_is_a_variant_set_beside_the_reference() -> None:
    lines = table({"runs": RUNS}).splitlines()
    assert lines[0] == "| test top-1, % | seeds | mean | std | minus `off` (95 %) | better | seconds | images |"
    assert lines[2] == "| off | 2 | 50.00 | 0.00 |  |  | 10 | 2,000 |"
    # Differences 0.25 and 0: mean 12.5, deviation 17.68, and 12.706 of them over the root of 2.
    assert lines[3] == "| exact | 2 | 62.50 | 17.68 | +12.50 ± 158.83 | 1 of 2, 1 tied | 10 | 2,000 |"


def test_teachers_and_baselines_have_rows_of_their_own() -> None:
    rows = columns(RUNS)
    assert list(rows)[:2] == ["off", "exact"]
    assert rows["supervised (baseline)"] == {0: 0.25, 1: 0.25}
    assert rows["exact: teacher"] == {0: 0.5, 1: 0.5}
    assert rows["exact: before finetuning"] == {0: 0.74, 1: pytest.approx(0.49)}


def test_a_run_without_finetuning_is_not_listed_twice() -> None:
    plain = run("uda", 0, 0.5, stages={"uda": {"student": {"top1": 0.5}}})
    assert columns([plain]) == {"uda": {0: 0.5}}


def test_a_failed_run_is_said_to_have_failed() -> None:
    text = table({"runs": [*RUNS, {"variant": "dot", "seed": 4, "error": "training has diverged"}]})
    assert text.endswith("dot at seed 4 failed: training has diverged\n")
    assert "| dot |" not in text


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_the_page_has_the_table_of_the_results(path: Path) -> None:
    marked = dict(re.findall(r"<!-- table: (\S+) -->\n(.*?\n)(?:\n|\Z)", PAGE.read_text(), re.DOTALL))
    name = path.relative_to(ROOT).as_posix()
    assert marked.get(name) == table(json.loads(path.read_text())), f"python -m benchmarks.accuracy --table {name}"
