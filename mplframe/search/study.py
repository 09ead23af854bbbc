"""What is known of a sweep's trials: Optuna's study in an SQLite file, which outlives any process."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from mplframe.checkpoint.compatible import differences
from mplframe.config.run import SweepConfig
from mplframe.errors import UserError
from mplframe.search.parameters import Parameter, Scalar
from mplframe.search.workers import Ended, State

NAME = "sweep"
IDENTITY, CONFIG, PRUNED = "identity", "config", "pruned"
ENOUGH = 10
"""Complete trials before it is said how much each parameter matters."""

_STATES: Mapping[TrialState, State | Literal["running"]] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}
_ENDS = {state: known for known, state in _STATES.items()}


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: from 0.
        state: how it ended, or `running`, which may be interrupted too.
        value: of the metric: of a complete trial at its end, of others at the last evaluation, None before the first.
        step: steps of all stages at the last evaluation.
        values: of the parameters, by key.
        seconds: of a complete trial.
        error: of a failed one.
    """

    number: int
    state: State | Literal["running"]
    value: float | None
    step: int | None
    values: Mapping[str, Scalar]
    seconds: float | None
    error: str | None


class Study:
    """The trials of a sweep, and which values the next one tries.

    Every choice is made with random numbers of its own, from the seed and the trial's number: a sweep that was
    interrupted goes on as if it hadn't been.

    Args:
        study: Optuna's.
        storage: that it lies in.
    """

    def __init__(self, study: optuna.Study, storage: RDBStorage) -> None:
        self._study, self._storage = study, storage

    def begin(self, identity: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Note what is searched, or see that it is what was searched before.

        Args:
            identity: what two lives of a sweep have in common.
            config: the whole configuration, as plain data.

        Raises:
            UserError: another sweep was begun here; lists what differs.
        """
        before = self._study.user_attrs.get(IDENTITY, identity)
        if found := list(differences(before, identity)):
            listed = "\n".join(f"  {line}" for line in found[:10])
            raise UserError(
                f"another sweep was begun in this folder:\n{listed}\nchoose another folder (--out DIR), or remove what "
                "is there with --resume never"
            )
        self._study.set_user_attr(IDENTITY, dict(identity))
        self._study.set_user_attr(CONFIG, dict(config))

    @property
    def config(self) -> dict[str, Any]:
        """The whole configuration, as plain data; empty before `begin`."""
        return dict(self._study.user_attrs.get(CONFIG, {}))

    @property
    def trials(self) -> list[Trial]:
        """All of them by number."""
        return [_trial(found) for found in self._study.get_trials(deepcopy=False)]

    def values(
        self, number: int | None, settings: SweepConfig, parameters: Sequence[Parameter]
    ) -> tuple[int, dict[str, Any]]:
        """The number of a trial and the values that it tries, by key.

        Args:
            number: of a trial that was begun; None begins another.
            settings: of the search.
            parameters: that are searched.
        """
        coming = len(self._study.get_trials(deepcopy=False)) if number is None else number
        self._study.sampler = _sampler(settings, parameters, coming)
        trial = self._study.ask() if number is None else optuna.Trial(self._study, self._id(number))
        return trial.number, {p.key: p.value(_suggested(trial, p)) for p in parameters}

    def evaluated(self, number: int, step: int, value: float, pruner: optuna.pruners.BasePruner) -> bool:
        """Note an evaluation; whether the trial is to end there. A resumed trial is told what it was told before."""
        trial = self._id(number)
        before = self._storage.get_trial(trial)
        if step in before.intermediate_values:
            return before.user_attrs.get(PRUNED) == step
        self._storage.set_trial_intermediate_value(trial, step, value)
        prune = pruner.prune(self._study, self._storage.get_trial(trial))
        if prune:
            self._storage.set_trial_user_attr(trial, PRUNED, step)
        return prune

    def end(self, number: int, ended: Ended) -> None:
        """Note what became of a trial."""
        for name in ("seconds", "error"):
            if (found := getattr(ended, name)) is not None:
                self._storage.set_trial_user_attr(self._id(number), name, found)
        value = ended.value if ended.state == "complete" else None
        self._study.tell(number, value, state=_ENDS[ended.state])

    @property
    def best(self) -> Trial | None:
        """Of the complete trials; the first one where several are equally good."""
        complete = [trial for trial in self.trials if trial.state == "complete"]
        sign = 1 if self._study.direction == optuna.study.StudyDirection.MAXIMIZE else -1
        return max(complete, key=lambda trial: sign * (trial.value or 0.0), default=None)

    def parsed(self, trial: Trial) -> dict[str, Any]:
        """The settings that a trial tried, by key."""
        ranges = SweepConfig.model_validate(self.config["sweep"]).ranges
        return {key: Parameter(key, ranges[key]).value(value) for key, value in trial.values.items()}

    @property
    def importance(self) -> dict[str, float]:
        """Each parameter's share of the metric's variance (fANOVA); empty while there are too few trials to tell."""
        complete = [trial for trial in self.trials if trial.state == "complete"]
        varied = len({trial.value for trial in complete}) > 1
        if len(complete) < ENOUGH or not varied:
            return {}
        return {key: float(share) for key, share in optuna.importance.get_param_importances(self._study).items()}

    def _id(self, number: int) -> int:
        study = self._storage.get_study_id_from_name(NAME)
        return self._storage.get_trial_id_from_study_id_trial_number(study, number)


@contextmanager
def open_study(path: Path, direction: Literal["maximize", "minimize"] | None = None) -> Iterator[Study]:
    """The study in a file.

    Args:
        path: of the file; it has to be there unless a direction is given.
        direction: `maximize` or `minimize`; makes the study where there is none.

    Raises:
        UserError: there is none.
    """
    if direction is None and not path.exists():
        raise UserError(f"there is no sweep in {path.parent}: no {path.name}; give the folder of a sweep")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})
    try:
        if direction is not None:
            optuna.create_study(study_name=NAME, storage=storage, direction=direction, load_if_exists=True)
        yield Study(optuna.load_study(study_name=NAME, storage=storage), storage)
    finally:
        storage.remove_session()
        storage.engine.dispose()


def grid_size(parameters: Sequence[Parameter]) -> int:
    """How many combinations there are.

    Raises:
        ConfigError: a parameter has no end of values.
    """
    return math.prod(len(parameter.grid) for parameter in parameters)


def make_pruner(name: Literal["median", "hyperband", "none"], every: int) -> optuna.pruners.BasePruner:
    """What ends trials early, of runs that are evaluated each `every` steps."""
    if name == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner() if name == "median" else optuna.pruners.HyperbandPruner(min_resource=every)


def _sampler(settings: SweepConfig, parameters: Sequence[Parameter], number: int) -> optuna.samplers.BaseSampler:
    seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
    if settings.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if settings.sampler == "grid":
        return _Given(_combination(parameters, number))
    with warnings.catch_warnings():
        # Optuna 4 calls it experimental. It keeps trials that run side by side apart.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def _combination(parameters: Sequence[Parameter], number: int) -> dict[str, Scalar]:
    """The values of a trial of a grid; those of the last parameter change fastest."""
    places = np.unravel_index(number % grid_size(parameters), [len(p.grid) for p in parameters])
    return {p.key: p.grid[int(place)] for p, place in zip(parameters, places, strict=True)}


@final
class _Given(optuna.samplers.BaseSampler):
    """Values that are known. (Optuna's own `GridSampler` works within its loop alone.)"""

    def __init__(self, values: Mapping[str, Scalar]) -> None:
        self._values = values

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Scalar:
        return self._values[param_name]


def _suggested(trial: optuna.Trial, parameter: Parameter) -> Scalar:
    """The value of a parameter; chosen now unless it was before."""
    key, given = parameter.key, parameter.range
    if given.choices:
        return trial.suggest_categorical(key, parameter.labels)
    assert given.low is not None
    assert given.high is not None
    if parameter.integer:
        return trial.suggest_int(key, int(given.low), int(given.high), step=int(given.step or 1), log=given.log)
    return trial.suggest_float(key, float(given.low), float(given.high), step=given.step, log=given.log)


def _trial(found: FrozenTrial) -> Trial:
    step = found.last_step
    last = None if step is None else found.intermediate_values[step]
    return Trial(
        number=found.number,
        state=_STATES[found.state],
        value=found.value if found.state == TrialState.COMPLETE else last,
        step=step,
        values=dict(found.params),
        seconds=found.user_attrs.get("seconds"),
        error=found.user_attrs.get("error"),
    )
