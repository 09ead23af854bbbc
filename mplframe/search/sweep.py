"""A sweep: trials are runs, workers train them, Optuna chooses the next."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mplframe.config.run import RangeConfig, RunConfig, SweepConfig
from mplframe.engine.interrupt import Flag, Interrupted, polite_end
from mplframe.errors import ConfigError, RunError, UserError
from mplframe.search.folder import SweepFolder, report
from mplframe.search.parameters import Parameter, declared, trial_config
from mplframe.search.study import Study, grid_size, make_pruner, open_study
from mplframe.search.workers import Ended, Evaluated, Task, Verdict, Worker, environment, ready

Tell = Callable[[str], object]
LIVES = 2
"""How many workers may die of one trial."""
FAILURES = 3
"""After so many failures and no success, something is wrong that is no trial's fault."""


class Coordinator:
    """Hands trials to workers.

    Args:
        study: of the trials.
        base: what trials change.
        settings: of the search.
        parameters: that are searched.
        folder: of the sweep.
        environments: one for each worker.
        command: what was typed.
        tell: shown what becomes of trials.
    """

    def __init__(
        self,
        study: Study,
        base: RunConfig,
        settings: SweepConfig,
        parameters: Sequence[Parameter],
        folder: SweepFolder,
        *,
        environments: Sequence[Mapping[str, str]],
        command: Sequence[str],
        tell: Tell,
    ) -> None:
        self._study, self._base, self._settings, self._parameters = study, base, settings, parameters
        self._folder, self._command, self._tell = folder, command, tell
        self._pruner = make_pruner(settings.pruner, base.evaluation.every)
        self._free = deque(environments)
        self._workers: dict[Worker, Mapping[str, str]] = {}
        self._unfinished = deque(trial.number for trial in study.trials if trial.state == "running")
        self._deaths: Counter[int] = Counter()
        self._failures = 0

    def run(self, trials: int) -> None:
        """Go on until there are `trials` of them.

        Raises:
            Interrupted: told to stop; what was running is saved.
            RunError: the first trials have all failed.
        """
        with polite_end(Flag()) as flag:
            try:
                while self._left(trials) or any(worker.trial is not None for worker in self._workers):
                    if flag.raised:
                        raise Interrupted(self._stopped(trials))
                    self._hand_out(trials)
                    for worker in ready(list(self._workers), 0.2):
                        self._hear(worker)
            finally:
                self._end()

    def _left(self, trials: int) -> bool:
        return bool(self._unfinished) or len(self._study.trials) < trials

    def _hand_out(self, trials: int) -> None:
        while self._left(trials):
            worker = next((worker for worker in self._workers if worker.trial is None), None)
            if worker is None and not self._free:
                return
            number = self._unfinished.popleft() if self._unfinished else None
            number, values = self._study.values(number, self._settings, self._parameters)
            try:
                config = trial_config(self._base, values)
            except ConfigError as error:
                self._ended(number, Ended("failed", error=str(error)))
                continue
            folder = self._folder.trial(number)
            self._folder.wait_for(number)
            task = Task(folder, config.dump(), self._settings.metric, self._command)
            (worker or self._started()).begin(number, task)

    def _started(self) -> Worker:
        environment = self._free.popleft()
        worker = Worker(environment)
        self._workers[worker] = environment
        return worker

    def _hear(self, worker: Worker) -> None:
        message, number = worker.hear(), worker.trial
        if message is None:
            self._died(worker)
        elif number is not None and isinstance(message, Evaluated):
            prune = self._study.evaluated(number, message.step, message.value, self._pruner)
            worker.tell(Verdict(prune))
        elif number is not None and isinstance(message, Ended):
            worker.trial = None
            self._ended(number, message)

    def _died(self, worker: Worker) -> None:
        self._free.append(self._workers.pop(worker))
        worker.end()
        code, number = worker.exit_code(), worker.trial
        if number is None:
            return
        said = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        if code != Interrupted.exit_code:
            self._deaths[number] += 1
        if self._deaths[number] < LIVES:
            self._tell(f"trial {number}: its process has ended ({said}); another one goes on with it")
            self._unfinished.append(number)
        else:
            error = f"{LIVES} processes have died of it, the last {said}; see {self._folder.trial(number)}"
            self._ended(number, Ended("failed", error=error))

    def _ended(self, number: int, ended: Ended) -> None:
        self._study.end(number, ended)
        self._tell(self._line(number))
        self._failures += ended.state == "failed"
        others = {trial.state for trial in self._study.trials} - {"failed", "running"}
        if self._failures >= FAILURES and not others:
            raise RunError(f"the first {self._failures} trials have all failed; the last: {ended.error}")

    def _line(self, number: int) -> str:
        trial, best = self._study.trials[number], self._study.best
        values = ", ".join(f"{key}={_short(value)}" for key, value in trial.values.items())
        if trial.state == "failed":
            return f"trial {number} failed with {values}: {trial.error}"
        metric = f"{self._settings.metric} {_short(trial.value)}"
        if trial.state == "pruned":
            metric += f" after {trial.step} steps"
        known = "" if best is None else f" (best: {_short(best.value)}, trial {best.number})"
        return f"trial {number} {trial.state}: {metric}{known} with {values}"

    def _stopped(self, trials: int) -> str:
        done = sum(trial.state != "running" for trial in self._study.trials)
        return f"stopped with {done} of {trials} trials done; the same command goes on"

    def _end(self) -> None:
        try:
            for worker in self._workers:
                worker.end()
            for worker in self._workers:
                worker.exit_code()
        except BaseException:
            for worker in self._workers:
                worker.kill()
            raise


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


IDENTITY = ("seed", "method", "data", "manifest", "input", "evaluation")
"""Settings of the runs that make two sweeps the same one."""
SEARCH = ("metric", "direction", "split", "ranges")
"""The same, of the search: how values are chosen, and how many, may change."""


def sweep(
    config: RunConfig,
    *,
    out: str | Path,
    ranges: Mapping[str, RangeConfig] | None = None,
    jobs: int = 1,
    resume: str = "auto",
    tell: Tell = lambda text: None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Search for better settings, and leave everything in a folder.

    Trials run in processes of their own, which know the installed plugins alone.

    Args:
        config: of the runs, with the search in its `sweep`.
        out: the folder; a sweep that was begun there goes on.
        ranges: further ones, by key; they win over the config's.
        jobs: trials at once.
        resume: `auto` goes on; `never` removes what an earlier sweep has left.
        tell: shown what becomes of each trial.
        command: what was typed, for manifests.

    Returns:
        As `report`.

    Raises:
        UserError: something has to be mended first, or the folder holds another sweep.
        RunError: no trial was complete.
        Interrupted: told to stop; the same call goes on.
    """
    _check(jobs, resume)
    own = config.sweep or SweepConfig()
    settings = own.model_copy(update={"ranges": {**own.ranges, **(ranges or {})}})
    base = _trials(config, settings)
    parameters, folder = declared(base, settings.ranges), SweepFolder(Path(out))
    trials = min(settings.trials, grid_size(parameters)) if settings.sampler == "grid" else settings.trials
    with folder.held():
        if resume == "never":
            folder.clear()
        with open_study(folder.study, settings.direction) as study:
            if not study.trials:
                folder.check_new()
            study.begin(_identity(base, settings), {**config.dump(), "sweep": settings.dump()})
            coordinator = Coordinator(
                study,
                base,
                settings,
                parameters,
                folder,
                environments=[environment(place, jobs, devices=_devices(base)) for place in range(jobs)],
                command=command,
                tell=tell,
            )
            coordinator.run(trials)
        found = report(folder.path)
    if found["best"] is None:
        raise RunError(f"no trial was complete; {folder.csv} lists what became of each")
    return found


def _check(jobs: int, resume: str) -> None:
    if jobs < 1:
        raise UserError(f"--jobs must be 1 or more, not {jobs}")
    if resume not in ("auto", "never"):
        raise UserError(f"--resume {resume!r}: a sweep takes auto or never")
    if "RANK" in os.environ:
        raise UserError("a sweep starts its own processes; start it without torchrun, and give --jobs N")


def _trials(config: RunConfig, settings: SweepConfig) -> RunConfig:
    """What trials change: without baselines, which would be the same in each of them, and judged as the search says."""
    judged = config.evaluation
    if judged.holdout is None:
        raise ConfigError(
            "a sweep needs samples to choose by that aren't the test split: set evaluation.holdout to how many labeled "
            "samples are kept out of training"
        )
    if settings.pruner != "none" and not judged.every:
        raise ConfigError(f"sweep.pruner is {settings.pruner}: set evaluation.every, to have something to judge by")
    evaluation = judged.model_copy(update={"split": settings.split})
    return config.model_copy(update={"baselines": (), "sweep": None, "evaluation": evaluation})


def _identity(base: RunConfig, settings: SweepConfig) -> dict[str, Any]:
    runs, search = base.dump(), settings.dump()
    return {**{key: runs[key] for key in IDENTITY}, "sweep": {key: search[key] for key in SEARCH}}


def _devices(base: RunConfig) -> Sequence[str]:
    """GPUs to share among workers, unless the config names one."""
    if getattr(base.backend, "device", None) not in ("auto", "cuda"):
        return ()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(number) for number in range(torch.cuda.device_count())] if named is None else named.split(",")
