"""What a sweep has found so far: tables, a plot, and the best configuration."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mplframe.checkpoint.files import write_atomic
from mplframe.config.load import overridden
from mplframe.config.yaml12 import dump
from mplframe.errors import UserError
from mplframe.json_text import json_text
from mplframe.report.sweep_plot import sweep_plot
from mplframe.search.folder import SweepFolder
from mplframe.search.study import open_study

FIXED_COLUMNS = ("number", "state", "value", "step", "seconds")


def report(out: str | Path) -> dict[str, Any]:
    """Write `trials.json`, `trials.csv`, `sweep.png` and `best.yaml` of a sweep, finished or not.

    Args:
        out: the folder of the sweep.

    Returns:
        What `trials.json` holds: `metric`, `direction`, `split` that trials were judged on, `trials` with each one's
        `number`, `state`, `value`, `step`, `values`, `seconds`, `error` and `folder`; `counts` by state, the `best`
        trial or None, and the `importance` of parameters.

    Raises:
        UserError: there is no sweep.
    """
    folder = SweepFolder(Path(out))
    with open_study(folder.study) as study:
        config, best, importance = study.config, study.best, study.importance
        trials = [{**asdict(trial), "folder": str(folder.trial(trial.number))} for trial in study.trials]
        chosen = None if best is None else study.parsed(best)
    if not config:
        raise UserError(f"the sweep in {out} was stopped before it began; start it again")
    search = config["sweep"]
    found = {
        **{key: search[key] for key in ("metric", "direction", "split")},
        "out": str(out),
        "counts": dict(Counter(trial["state"] for trial in trials)),
        "best": None if best is None else trials[best.number],
        "importance": importance,
        "trials": trials,
    }
    _write(folder.json, json_text(found, indent=2) + "\n")
    _write(folder.csv, _rows(found))
    sweep_plot(found, search["ranges"], folder.plot)
    if chosen is not None:
        _write(folder.best, _best(config, chosen, found))
    return found


def _rows(found: Mapping[str, Any]) -> str:
    keys = list(dict.fromkeys(key for trial in found["trials"] for key in trial["values"]))
    text = io.StringIO()
    table = csv.DictWriter(text, [*FIXED_COLUMNS, *keys, "error"], extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows({**trial, **trial["values"]} for trial in found["trials"])
    return text.getvalue()


def _best(config: Mapping[str, Any], values: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The configuration with the best values, judged on the test split again."""
    best = found["best"]
    changed = overridden(config, [f"{key}={json.dumps(value)}" for key, value in values.items()])
    changed = {key: value for key, value in changed.items() if key not in ("out", "sweep")}
    changed["evaluation"] = {**changed["evaluation"], "split": "test"}
    held_out = changed["evaluation"]["holdout"]
    lines = [
        f"The best of {found['counts']['complete']} complete trials: number {best['number']}, with "
        f"{found['metric']} {best['value']:.6g} on the {found['split']} split.",
        *(f"{key}: {json.dumps(value)}" for key, value in values.items()),
    ]
    if held_out is not None:
        lines += ["The samples that were held out still are; without evaluation.holdout they are trained on too."]
    return "".join(f"# {line}\n" for line in lines) + dump(changed)


def _write(path: Path, text: str) -> None:
    write_atomic(path, lambda file: file.write(text.encode()))
