"""A trial in its run folder, however it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mplframe
from mplframe import api
from mplframe.builders.feed import RunSplitName
from mplframe.errors import ConfigError
from mplframe.search.worker import Trial
from mplframe.search.workers import Ended, Evaluated, Task, Verdict

RAW: dict[str, Any] = {
    "data": {"name": "digits", "labeled_per_class": 6},
    "input": {"size": 8, "channels": 1},
    "method": {
        "name": "supervised",
        "steps": 6,
        "batch": 8,
        "student": {"network": {"name": "mlp", "hidden": [8]}, "optimizer": {"name": "sgd", "lr": 0.1}},
    },
    "evaluation": {"every": 2, "split": "holdout", "holdout": 20},
    "trackers": ["jsonl"],
}


class Judge:
    """The other end: ends a trial once it has been evaluated often enough."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.heard: list[Evaluated] = []

    def tell(self, message: Evaluated | Ended) -> None:
        assert isinstance(message, Evaluated)
        self.heard.append(message)

    def answer(self) -> Verdict:
        return Verdict(len(self.heard) >= self.last)


def run(folder: Path, sweep: Judge, *, metric: str = "top1", **changed: Any) -> Ended:
    config = mplframe.from_dict({**RAW, **changed}).dump()
    return Trial(Task(folder, config, metric, ["mplframe", "sweep"]), sweep).run()  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLFRAME_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def test_a_complete_trial_is_an_ordinary_run_and_is_not_done_again(tmp_path: Path) -> None:
    judge = Judge(last=99)
    ended = run(tmp_path / "trial", judge)
    summary = json.loads((tmp_path / "trial" / "summary.json").read_text())
    assert [one.step for one in judge.heard] == [2, 4, 6]
    assert ended == Ended("complete", summary["final"]["top1"], summary["seconds"])
    assert judge.heard[-1].value == ended.value
    assert summary["split"] == "holdout"
    again = Judge(last=99)
    assert run(tmp_path / "trial", again) == ended
    assert again.heard == []


def test_a_pruned_trial_stops_at_a_checkpoint_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    judge = Judge(last=2)
    assert run(folder, judge) == Ended("pruned")
    said = {"metric": "top1", "step": 4, "value": judge.heard[-1].value}
    assert json.loads((folder / "pruned.json").read_text()) == said
    assert max(path.name for path in (folder / "checkpoints").glob("step-*")) == "step-000000004.pt"
    assert not (folder / "summary.json").exists()
    assert run(folder, Judge(last=99)) == Ended("pruned")
    # Whoever wants to know can go on with it.
    mplframe.run(mplframe.load(folder / "config.yaml"), out=folder)
    assert not (folder / "pruned.json").exists()
    assert (folder / "summary.json").exists()


def test_a_trial_that_diverges_fails_with_its_reason(tmp_path: Path) -> None:
    method = {**RAW["method"], "student": {**RAW["method"]["student"], "optimizer": {"name": "sgd", "lr": 1e30}}}
    ended = run(tmp_path / "trial", Judge(last=99), method=method)
    assert ended.state == "failed"
    assert "training has diverged" in (ended.error or "")


def test_a_metric_that_there_is_not_fails_at_the_first_evaluation(tmp_path: Path) -> None:
    judge = Judge(last=99)
    ended = run(tmp_path / "trial", judge, metric="topp1")
    assert ended == Ended("failed", error="sweep.metric: no evaluator gives 'topp1' (they give: top1, top5, nll)")
    assert judge.heard == []


def test_judging_on_what_is_not_held_out_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"evaluation: .*set evaluation\.holdout"):
        mplframe.from_dict({**RAW, "evaluation": {"split": "holdout"}})


def test_what_is_held_out_is_neither_trained_on_nor_the_test_split(tmp_path: Path) -> None:
    def splits(holdout: float | None) -> tuple[list[str], list[str], int]:
        evaluation = {"split": "test" if holdout is None else "holdout", "holdout": holdout}
        kept = {"keep_best": None if holdout else False}
        live = api.runs.build_run(
            mplframe.from_dict({**RAW, "evaluation": evaluation, "checkpoint": kept}), api.components()
        )
        labeled = live.streams.split("labeled")
        name: RunSplitName = "test" if holdout is None else "holdout"
        judged = live.streams.split(name)
        labels = [sample.label for sample in judged.read(range(len(judged)))]
        assert next(live.streams.judged_batches(name)).keys == [judged.key(i) for i in range(len(judged))][:256]
        keys = [[split.key(i) for i in range(len(split))] for split in (labeled, judged)]
        return keys[0], keys[1], len({labels.count(label) for label in range(10)})

    every, _, _ = splits(None)
    for amount in (20, 1 / 3):
        left, held_out, shares = splits(amount)
        assert (len(left), len(held_out), shares) == (40, 20, 1)
        assert sorted(left + held_out) == sorted(every)
