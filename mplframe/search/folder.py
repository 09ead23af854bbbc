"""The folder of a sweep, and the report in it."""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mplframe.config.load import dump, overridden
from mplframe.errors import UserError
from mplframe.io.files import alone, claim, json_text, make_folder, marked, write_atomic
from mplframe.report.figures import sweep_plot
from mplframe.search.study import open_study

SECONDS = 60.0


class SweepFolder:
    """Paths of a sweep.

    Args:
        path: the folder; made by `held`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.study = path / "study.db"
        self.best = path / "best.yaml"
        self.json = path / "trials.json"
        self.csv = path / "trials.csv"
        self.plot = path / "sweep.png"

    def trial(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.path / f"trial-{number:04d}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and hold it alone.

        Raises:
            UserError: it can't be written, holds a run, or another sweep holds it.
        """
        make_folder(self.path)
        if (self.path / "manifest.json").exists():
            raise UserError(f"{self.path} holds a run; choose another folder for the sweep (--out DIR)")
        with alone(self.path, "sweep"):
            claim(self.path, "sweep", (path.name for path in (self.study, self.best, self.json, self.csv, self.plot)))
            yield

    def clear(self) -> None:
        """Remove what a sweep has left."""
        for file in (*self.path.glob("study.db*"), self.best, self.json, self.csv, self.plot):
            file.unlink(missing_ok=True)
        for trial in self.trials():
            shutil.rmtree(trial)

    def trials(self) -> list[Path]:
        """Run folders of trials; others of such names aren't the sweep's."""
        found = sorted(self.path.glob("trial-[0-9][0-9][0-9][0-9]*"))
        return [path for path in found if not path.is_symlink() and marked(path) == "run"]

    def check_new(self) -> None:
        """See that a search which begins finds no trials of another.

        Raises:
            UserError: there are some; what they tried is unknown.
        """
        if found := self.trials():
            raise UserError(
                f"{self.path} has {len(found)} trials, such as {found[0].name}, of a sweep whose {self.study.name} is "
                "gone, so that nobody knows what they tried; choose another folder (--out DIR), or remove them with "
                "--resume never"
            )

    def wait_for(self, number: int) -> None:
        """Wait until nobody writes to a trial: what a killed sweep has left behind is saving it.

        Raises:
            UserError: that takes longer than a minute.
        """
        folder, deadline = self.trial(number), time.monotonic() + SECONDS
        while folder.exists():
            try:
                with alone(folder, "run"):
                    return
            except UserError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


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
