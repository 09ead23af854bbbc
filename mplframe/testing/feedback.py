"""The contract of feedback estimators."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from mplframe.backends.single import Single
from mplframe.contracts.feedback import Feedback, FeedbackEstimator, StudentStep
from mplframe.testing.component import copied, made, same, stored, without_values
from mplframe.testing.problem import SPEC, UNLABELED, Problem
from mplframe.training.labeling import Labeling

STEPS = 4
RESUMED_AT = 2


def check_feedback(make: Callable[[], FeedbackEstimator]) -> None:
    """Hold a feedback estimator against its contract, on a tiny teacher and student that learn for a few steps.

    h is [], [N] or [N, C], finite, and the teacher can learn from it, with soft labels too if the estimator says so;
    only what `requires` lists is used; the student, its gradients and its statistics stay as they are; equal steps give
    equal feedback; an estimator restored from a checkpoint goes on to the bit; nothing is read from the device.

    Args:
        make: makes the estimator.

    Raises:
        AssertionError: names the broken promise.
    """
    estimator = made(make, FeedbackEstimator)
    heard = _heard(estimator, Problem.on(_cpu()))
    differs = same(heard, _heard(make(), Problem.on(_cpu())))
    assert not differs, f"{differs}: the same steps gave other feedback the second time"
    _check_restored(make, heard)
    if estimator.soft:
        _heard(make(), Problem.on(_cpu(), labeling=Labeling("soft")))
    # Networks without values learn as well; whoever looks at one, stops.
    _heard(make(), Problem.on(_without_memory(), ema=None), values=False)


def _cpu() -> Single:
    return Single(Single.Config(device="cpu"))


def _without_memory() -> Single:
    backend = _cpu()
    backend.device = torch.device("meta")  # no config may ask for it
    return backend


def _heard(
    estimator: FeedbackEstimator, problem: Problem, *, steps: range = range(STEPS), values: bool = True
) -> list[Tensor | None]:
    return [_step(estimator, problem, step, values=values) for step in steps]


def _step(estimator: FeedbackEstimator, problem: Problem, step: int, *, values: bool) -> Tensor | None:
    """One step of MPL; every other one is cut into micro-batches."""
    teacher, student = problem.teacher, problem.student
    batches = problem.batches(step, parts=1 + step % 2)
    labels = teacher.label(batches, step)
    move, _ = student.learn(batches, labels, step, requires=estimator.requires)
    before = copied(student.state_dict()) if values else None
    feedback = _estimated(estimator, move, values=values)
    if values:
        differs = same(before, student.state_dict())
        assert not differs, f"estimating changed the student's {differs}"
        left = [name for name, p in student.module.named_parameters() if p.grad is not None]
        assert not left, f"estimating left gradients behind, of {left[0]} for one"
    if feedback is not None:
        _check_h(feedback, values=values)
    teacher.learn(batches, labels, feedback, step)
    return None if feedback is None else feedback.h.detach()


def _estimated(estimator: FeedbackEstimator, move: StudentStep, *, values: bool) -> Feedback | None:
    try:
        with nullcontext() if values else without_values("the estimator"):
            return estimator.estimate(move)
    except AssertionError as error:
        raise AssertionError(
            f"the estimator asks for more than its `requires` = {sorted(estimator.requires)}: {error}"
        ) from error


def _check_h(feedback: Feedback, *, values: bool) -> None:
    h = feedback.h
    assert isinstance(feedback, Feedback), f"estimate gave {type(feedback).__name__}, not Feedback or None"
    assert isinstance(h, Tensor), f"h is {type(h).__name__}, not a tensor that stays on the device"
    shapes = ((), (UNLABELED,), (UNLABELED, SPEC.classes))
    assert h.shape in shapes, f"h is {list(h.shape)}, neither [] nor [N] nor [N, C] = {list(shapes[-1])}"
    assert h.is_floating_point(), f"h is {h.dtype}, not floats"
    assert feedback.reduction in ("sum", "mean"), f"reduction is {feedback.reduction!r}, neither sum nor mean"
    if values:
        assert bool(h.isfinite().all()), f"h isn't finite: {h}"


def _check_restored(make: Callable[[], FeedbackEstimator], heard: list[Tensor | None]) -> None:
    first, problem = make(), Problem.on(_cpu())
    _heard(first, problem, steps=range(RESUMED_AT))
    state: Any = stored(first.state_dict())
    second = make()
    second.load_state_dict(state)
    resumed = _heard(second, problem, steps=range(RESUMED_AT, STEPS))
    differs = same(heard[RESUMED_AT:], resumed)
    assert not differs, (
        f"{differs}: feedback goes on differently after a restart; state_dict has to hold whatever an estimate leaves"
    )
    fresh = make()
    fresh.load_state_dict(stored(make().state_dict()))
    assert torch.is_tensor(_heard(fresh, Problem.on(_cpu()), steps=range(1))[0]) == torch.is_tensor(heard[0]), (
        "an estimator restored before its first step doesn't begin like a fresh one"
    )
