"""The moving-average baseline of MPL v4, C.3, around any estimator."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, final

import torch
from pydantic import Field

from mplframe.config.base import ComponentConfig, Kind
from mplframe.contracts.feedback import Feedback, FeedbackEstimator, StudentStep


@final
class Baseline(FeedbackEstimator):
    """`h - b`, where b is the moving average of h before this step.

    A baseline that doesn't depend on the labels leaves the expected gradient as it is and lowers its variance. The
    first step has no past to compare with: its b is its own h, so that its feedback is 0. Around `exact` it changes
    nothing: the entries of a distribution sum to 1 whatever the teacher does.
    """

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            inner: the estimator whose h is centred.
            decay: of the moving average, per step.
        """

        name: Literal["baseline"] = "baseline"
        inner: Annotated[ComponentConfig, Kind("feedback")] = ComponentConfig(name="cosine")
        decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99

    def __init__(self, config: Config | None = None, *, inner: FeedbackEstimator) -> None:
        self.config = config or self.Config()
        self.inner = inner
        self.requires = inner.requires
        self.soft = inner.soft
        # Not a number until there is one: the first step is the same computation as the others.
        self._average = torch.tensor(torch.nan)

    def estimate(self, step: StudentStep) -> Feedback | None:
        feedback = self.inner.estimate(step)
        if feedback is None:
            return None
        mean = step.mean(feedback.h)
        average = self._average.to(mean.device)
        average = torch.where(average.isnan(), mean, average)
        self._average = self.config.decay * average + (1.0 - self.config.decay) * mean
        return replace(feedback, h=feedback.h - average)

    def state_dict(self) -> dict[str, Any]:
        return {"average": self._average, "inner": self.inner.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._average = state["average"]
        self.inner.load_state_dict(state["inner"])
