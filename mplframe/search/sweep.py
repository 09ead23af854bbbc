"""A sweep from its beginning, or from where it was stopped, to its end."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mplframe.config.run import RunConfig
from mplframe.config.sweep import RangeConfig, SweepConfig
from mplframe.errors import ConfigError, RunError, UserError
from mplframe.search.coordinator import Coordinator, Tell
from mplframe.search.folder import SweepFolder
from mplframe.search.parameters import declared
from mplframe.search.report import report
from mplframe.search.study import grid_size, open_study
from mplframe.search.workers import environment

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
    if settings.split == "holdout" and judged.holdout is None:
        raise ConfigError(
            "a sweep needs samples to choose by that aren't the test split: set evaluation.holdout to how many labeled "
            "samples are kept out of training; or, with data.test pointing at validation data, set sweep.split=test"
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
