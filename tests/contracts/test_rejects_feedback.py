"""The suites have teeth: broken feedback estimators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from broken import Config, rejects
from torch import Tensor

from mplframe.contracts.feedback import Feedback, FeedbackEstimator, StudentStep
from mplframe.testing import check_feedback


class Estimator(FeedbackEstimator):
    """The dot product with something wrong; keeps the sum of what it has seen."""

    Config = Config

    def __init__(self, change: Callable[[Tensor, Estimator], Any]) -> None:
        self.change = change
        self.sum: Any = torch.zeros(())

    def estimate(self, step: StudentStep) -> Feedback:
        h = -step.inner(step.labeled_gradient(), step.label_part)
        self.sum = self.sum.to(h.device) + h
        return Feedback(self.change(h, self), "mean")

    def state_dict(self) -> dict[str, Any]:
        return {"sum": self.sum}

    def load_state_dict(self, state: Any) -> None:
        self.sum = state["sum"]


class Forgetful(Estimator):
    def state_dict(self) -> dict[str, Any]:
        return {"sum": torch.zeros(())}


class Unstorable(Estimator):
    def state_dict(self) -> dict[str, Any]:
        return {"sum": self.sum, "change": Estimator}


class Undeclared(Estimator):
    requires = frozenset()


class Meddling(Estimator):
    """Moves the student's weights through the gradient that it was handed."""

    def estimate(self, step: StudentStep) -> Feedback:
        step._student.module.body[0].weight.data.mul_(1.1)
        return super().estimate(step)


FEEDBACK = {
    "a number": (lambda: Estimator(lambda h, _: 0.5), "not a tensor"),
    "host sync": (lambda: Estimator(lambda h, _: torch.tensor(h.item())), "reads a tensor on the host"),
    "wrong shape": (lambda: Estimator(lambda h, _: h.expand(3)), r"neither \[\] nor \[N\]"),
    "not finite": (lambda: Estimator(lambda h, _: h / 0.0), "isn't finite"),
    "random": (lambda: Estimator(lambda h, _: h + torch.randn(())), "other feedback the second time"),
    "state forgotten": (lambda: Forgetful(lambda h, e: h - e.sum), "goes on differently after a restart"),
    "state unstorable": (lambda: Unstorable(lambda h, e: h), "tensors and plain values only"),
    "not required": (lambda: Undeclared(lambda h, _: h), "asks for more than its `requires`"),
    "changes the student": (lambda: Meddling(lambda h, _: h), "changed the student's /module"),
}


@pytest.mark.parametrize("case", FEEDBACK)
def test_feedback(case: str) -> None:
    make, promise = FEEDBACK[case]
    rejects(lambda: check_feedback(make), promise)
