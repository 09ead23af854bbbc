"""Run."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mplframe.api.configs import components
from mplframe.backends.processes import check_alone
from mplframe.builders import Maker, Run, build_run, vouch
from mplframe.checkpoint.compatible import check_identity
from mplframe.checkpoint.run_folder import RunFolder
from mplframe.checkpoint.store import CheckpointStore, Writer
from mplframe.config.load import dump
from mplframe.config.run import RunConfig
from mplframe.contracts.watching import Tracker
from mplframe.engine.interrupt import Watch, Watcher
from mplframe.engine.loop import Progress
from mplframe.evaluation.classification import with_intervals
from mplframe.planning.cost import PlanCost
from mplframe.planning.devices import Devices
from mplframe.planning.planner import Planner
from mplframe.plugins import Components


def run(
    config: RunConfig,
    *,
    out: str | Path | None = None,
    resume: str = "auto",
    installed: Components | None = None,
    command: Sequence[str] = (),
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Train, and leave everything in the run folder.

    Args:
        config: what to do.
        out: the run folder; the config's by default.
        resume: `auto`, `never`, or a checkpoint or run folder to go on from.
        installed: what names may refer to.
        command: what was typed, for the manifest.
        watch: shown every record; the run stops where it says so.

    Returns:
        What `summary.json` holds.

    Raises:
        UserError: something in the config, the data or the folder has to be mended first.
        RunError: the run failed.
        Interrupted: it was told to stop, and has saved where it was.
    """
    found = installed or components()
    folder = RunFolder(Path(out if out is not None else config.out))
    live = build_run(config, found, folder)
    if live.backend.world == 1:
        check_alone()
    if watch is not None and live.backend.main:
        live = replace(live, trackers=[*live.trackers, Watcher(watch, live.flag)])
    writer = Writer(live.backend, background=config.checkpoint.background)
    store = CheckpointStore(folder.checkpoints, keep=config.checkpoint.keep, writer=writer, room=live.backend.room)
    with ExitStack() as stack:
        stack.callback(live.backend.close)
        with live.backend.main_first():
            if live.backend.main:
                stack.enter_context(folder.locked())
            stack.callback(writer.close)
            live.open_data()
            checkpoint = _begin(live, folder, store, resume)
            if live.backend.main:
                text = dump(config.dump())
                vouch(text)
                folder.write_text(folder.config, text)
                folder.write_json(folder.manifest, _manifest(live, found, command))
        with live.backend.guarded():
            progress = _train(live, folder, store, checkpoint)
        return live.backend.on_main(lambda: _end(live, folder, progress))


def _begin(live: Run, folder: RunFolder, store: CheckpointStore, resume: str) -> dict[str, Any] | None:
    main = live.backend.main
    checkpoint = folder.begin(resume, store) if main else folder.follow(resume, store)
    if checkpoint is not None:
        check_identity(checkpoint["identity"], live.identity)
    if main:
        folder.join_damaged()
    live.streams.damaged.keep(folder.damaged_seen_by(live.backend.rank))
    return checkpoint


def _train(live: Run, folder: RunFolder, store: CheckpointStore, checkpoint: Mapping[str, Any] | None) -> Progress:
    done = int(checkpoint["progress"]["total"]) if checkpoint else 0
    total = sum(stage.plan.steps for stage in live.training)
    with _opened(live.trackers, folder.path, total, done):
        for told in live.streams.told():
            _tell(live.trackers, told)
        if checkpoint:
            _tell(live.trackers, f"resuming after step {done} of {total} in {folder.path}")
        progress = live.engine(folder, store).run(checkpoint)
        live.backend.barrier()
        if live.backend.main:
            folder.join_damaged()
            live.streams.damaged.keep(folder.damaged)
        if live.streams.damaged.counts:
            _tell(live.trackers, f"went on without damaged samples: {_told(live)}; they are listed in {folder.damaged}")
    return progress


def _end(live: Run, folder: RunFolder, progress: Progress) -> dict[str, Any]:
    from mplframe.report.curves import learning_curves  # matplotlib, slow to import

    summary = _summary(live, progress.results, progress.seconds, progress.images, progress.best)
    if folder.metrics.exists() and folder.metrics.stat().st_size:  # a finished run that goes on logs nothing
        learning_curves(folder.metrics, folder.curves)
    folder.write_json(folder.summary, summary)
    return summary


@contextmanager
def _opened(trackers: Sequence[Tracker], folder: Path, total: int, done: int) -> Iterator[None]:
    with ExitStack() as stack:
        for tracker in trackers:
            tracker.open(folder, total_steps=total, done=done)
            stack.callback(tracker.close)
        yield


def _tell(trackers: Sequence[Tracker], text: str) -> None:
    for tracker in trackers:
        tracker.message(text)


def _summary(live: Run, results: Mapping[str, Any], seconds: float, images: int, best: float | None) -> dict[str, Any]:
    stages = {
        name: {**found, "networks": {r: with_intervals(m, found["samples"]) for r, m in found["networks"].items()}}
        if "samples" in found and "networks" in found
        else found
        for name, found in results.items()
    }
    last = live.training[-1]
    main = stages[last.name]["networks"][last.plan.networks[0].role]
    baselines = {
        stage.name: stages[stage.name]["networks"][stage.plan.networks[0].role]
        for stage in live.training
        if not stage.main
    }
    choice = live.choice
    return {
        "final": main,
        "baselines": baselines,
        "stages": stages,
        "seconds": seconds,
        "images": images,
        "seed": live.config.seed,
        "split": live.config.evaluation.split,
        "best": None
        if choice is None or best is None
        else {"split": choice.judge.split, "role": choice.role, choice.metric: best},
        "damaged": live.streams.damaged.counts,
    }


def _told(live: Run) -> str:
    return ", ".join(f"{count} {split}" for split, count in live.streams.damaged.counts.items())


def _manifest(live: Run, found: Components, command: Sequence[str]) -> dict[str, Any]:
    packages = ("mplframe", "torch", "torchvision", "timm", "numpy", "webdataset", "fsspec")
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": list(command),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "plugins": [{"name": p.name, "version": p.version, "broken": p.reason} for p in found.plugins],
        "seed": live.config.seed,
        "backend": {"name": live.config.backend.name, "world": live.backend.world, **live.backend.describe()},
        "data": dict(live.source.fingerprint()),
        "classes": list(live.source.classes),
        "stages": [{"name": stage.name, "steps": stage.plan.steps} for stage in live.training],
    }


def plan(
    config: RunConfig,
    *,
    devices: Devices | None = None,
    rehearse: bool = True,
    installed: Components | None = None,
) -> PlanCost:
    """What a run would cost, computed on the meta device: no data are touched and no memory is taken.

    Args:
        config: of the run.
        devices: that it would run on, from `mplframe.planning.devices.find_devices`; None plans no time and no fit.
        rehearse: run a step of each stage without values to know its memory, which takes seconds; else it is an upper
            estimate.
        installed: what names may refer to.

    Raises:
        UserError: the config can't be carried out.
    """
    return Planner(config, Maker(installed or components()), devices, rehearse).plan()
