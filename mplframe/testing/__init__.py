"""Contract suites: what plugin authors run on their own components, and mplframe on its own.

Each `check_` function takes something that makes a fresh component (its class, or a lambda with settings), holds it
against its contract and raises an AssertionError that says which promise is broken. None of them needs pytest. `named`
makes a component from what a config file says.

    from mplframe.testing import check_feedback
    from my_plugin.sign import Sign

    def test_sign() -> None:
        check_feedback(Sign)
"""

from mplframe.testing.architecture import check_architecture
from mplframe.testing.augmentation import check_augmentation
from mplframe.testing.backend import check_backend
from mplframe.testing.dataset import check_dataset
from mplframe.testing.evaluator import check_evaluator
from mplframe.testing.feedback import check_feedback
from mplframe.testing.lookahead import check_lookahead
from mplframe.testing.loss import check_loss
from mplframe.testing.method import check_method
from mplframe.testing.named import named
from mplframe.testing.optimizer import check_optimizer
from mplframe.testing.schedule import check_schedule
from mplframe.testing.tracker import check_tracker

__all__ = [
    "check_architecture",
    "check_augmentation",
    "check_backend",
    "check_dataset",
    "check_evaluator",
    "check_feedback",
    "check_lookahead",
    "check_loss",
    "check_method",
    "check_optimizer",
    "check_schedule",
    "check_tracker",
    "named",
]
