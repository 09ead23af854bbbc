"""No feedback: the ablation that every claim about accuracy needs."""

from typing import Literal, final

from mplframe.config.base import ComponentConfig
from mplframe.contracts.feedback import FeedbackEstimator, StudentStep


@final
class Off(FeedbackEstimator):
    """The teacher hears nothing from the student, and nothing is computed for it."""

    requires = frozenset()
    soft = True

    class Config(ComponentConfig):
        """No settings."""

        name: Literal["off"] = "off"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def estimate(self, step: StudentStep) -> None:
        return None
