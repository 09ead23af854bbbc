"""Contract suites: what plugin authors run on their own components, and mplframe on its own.

Each `check_` function takes something that makes a fresh component (its class, or a lambda with settings), holds it
against its contract and raises an AssertionError that says which promise is broken. None of them needs pytest. `named`
makes a component from what a config file says.

    from mplframe.testing import check_feedback
    from my_plugin.sign import Sign

    def test_sign() -> None:
        check_feedback(Sign)
"""

from mplframe.testing.backend import check_backend
from mplframe.testing.component import named
from mplframe.testing.data import check_augmentation, check_dataset
from mplframe.testing.feedback import check_feedback
from mplframe.testing.method import check_method
from mplframe.testing.network import check_architecture, check_loss
from mplframe.testing.optimizer import check_lookahead, check_optimizer, check_schedule
from mplframe.testing.watching import check_evaluator, check_tracker

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
