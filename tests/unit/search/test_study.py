"""The study: exact accounts of trials over any number of lives."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import optuna
import pytest

from mplframe.config.run import RangeConfig, SweepConfig
from mplframe.errors import UserError
from mplframe.search.parameters import Parameter
from mplframe.search.study import NAME, Study, grid_size, make_pruner, open_study
from mplframe.search.workers import Ended

PARAMETERS = (
    Parameter("weight", RangeConfig(low=0.1, high=10, log=True)),
    Parameter("steps", RangeConfig(low=1, high=5), integer=True),
    Parameter("network", RangeConfig(choices=("mlp", {"name": "cnn"}, None))),
)
SETTINGS = SweepConfig(ranges={parameter.key: parameter.range for parameter in PARAMETERS})
Opened = Callable[[], AbstractContextManager[Study]]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    return lambda: open_study(tmp_path / "study.db", "maximize")


def tried(study: Study) -> dict[str, Any]:
    """The values of one more trial, which is judged by its weight."""
    number, values = study.values(None, SETTINGS, PARAMETERS)
    study.end(number, Ended("complete", values["weight"], 1.0))
    return values


def test_an_interruption_changes_no_choice(opened: Opened, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with opened() as study:
        before = [tried(study) for _ in range(10)]  # random ones, for TPE to learn from
        shutil.copy(tmp_path / "study.db", copy)
        coming = tried(study)
    with open_study(copy, "maximize") as resumed:
        assert tried(resumed) == coming
    assert len({values["weight"] for values in [*before, coming]}) == 11


def test_a_trial_that_was_being_chosen_is_chosen_to_the_end(opened: Opened, tmp_path: Path) -> None:
    with opened() as study:
        _, undisturbed = study.values(None, SETTINGS, PARAMETERS)
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    optuna.load_study(study_name=NAME, storage=storage).ask()  # killed here: it has a number and no value
    storage.remove_session()
    storage.engine.dispose()
    with opened() as study:
        assert [trial.state for trial in study.trials] == ["running", "running"]
        assert study.values(0, SETTINGS, PARAMETERS) == (0, undisturbed)
        number, values = study.values(1, SETTINGS, PARAMETERS)
        assert number == 1
        assert values.keys() == undisturbed.keys()
        assert len(study.trials) == 2


def test_a_grid_is_walked_through_once(tmp_path: Path) -> None:
    parameters = (PARAMETERS[1], PARAMETERS[2])
    settings = SETTINGS.model_copy(update={"sampler": "grid"})
    found = []
    assert grid_size(parameters) == 15
    for trials in (8, 7):
        with open_study(tmp_path / "study.db", "maximize") as study:
            for _ in range(trials):
                _, values = study.values(None, settings, parameters)
                found.append((values["steps"], str(values["network"])))
    assert len(set(found)) == 15


def test_every_end_is_kept(opened: Opened) -> None:
    with opened() as study:
        for _ in range(4):
            study.values(None, SETTINGS, PARAMETERS)
        study.end(0, Ended("complete", 0.5, 2.0))
        study.evaluated(1, 10, 0.3, make_pruner("none", every=10))
        study.end(1, Ended("pruned"))
        study.end(2, Ended("failed", error="diverged"))
    with opened() as study:
        trials = study.trials
        assert [trial.state for trial in trials] == ["complete", "pruned", "failed", "running"]
        assert [trial.value for trial in trials] == [0.5, 0.3, None, None]
        assert (trials[0].seconds, trials[1].step, trials[2].error) == (2.0, 10, "diverged")
        assert study.best == trials[0]


def test_less_can_be_better(tmp_path: Path) -> None:
    with open_study(tmp_path / "study.db", "minimize") as study:
        for value in (0.5, 0.2, 0.2, 0.9):
            number, _ = study.values(None, SETTINGS, PARAMETERS)
            study.end(number, Ended("complete", value, 1.0))
        assert study.best is not None
        assert study.best.number == 1


@pytest.mark.parametrize("name", ["median", "hyperband"])
def test_a_bad_trial_is_ended_early_also_when_it_is_judged_again(opened: Opened, name: Any) -> None:
    pruner = make_pruner(name, every=10)
    with opened() as study:
        for value in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
            number, _ = study.values(None, SETTINGS, PARAMETERS[:1])
            assert not any(study.evaluated(number, step, value, pruner) for step in (10, 30))
            study.end(number, Ended("complete", value, 1.0))
        number, _ = study.values(None, SETTINGS, PARAMETERS[:1])
        # Hyperband lets some trials have more steps than others.
        step = next(step for step in (10, 30) if study.evaluated(number, step, 0.1, pruner))
    with opened() as study:
        assert study.evaluated(number, step, 0.1, make_pruner(name, every=10))
        assert not study.evaluated(4, 10, 0.1, make_pruner(name, every=10))


def test_another_search_is_refused_where_one_was_begun(opened: Opened) -> None:
    with opened() as study:
        study.begin({"seed": 0, "sweep": {"metric": "top1"}}, {"seed": 0})
    with opened() as study:
        assert study.config == {"seed": 0}
        study.begin({"seed": 0, "sweep": {"metric": "top1"}}, {"seed": 0})
        with pytest.raises(UserError, match=r"sweep\.metric: 'top1' then, 'nll' now\n.*--resume never"):
            study.begin({"seed": 0, "sweep": {"metric": "nll"}}, {})


def test_importance_is_told_when_there_are_enough_trials(opened: Opened) -> None:
    with opened() as study:
        for _ in range(10):
            assert study.importance == {}
            tried(study)
        assert max(study.importance, key=study.importance.__getitem__) == "weight"
        assert sum(study.importance.values()) == pytest.approx(1)


def test_where_there_is_no_sweep_one_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no sweep in"), open_study(tmp_path / "study.db"):
        pass
