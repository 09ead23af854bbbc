"""Teacher/student semi-supervised learning: Meta Pseudo Labels and its relatives.

Importing this imports no torch: the names below are fetched when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mplframe.api import from_dict as from_dict
    from mplframe.api import load as load
    from mplframe.api import plan as plan
    from mplframe.api import run as run
    from mplframe.contracts.batch import Batch as Batch
    from mplframe.contracts.batch import Samples as Samples
    from mplframe.feedback.baseline import Baseline as Baseline
    from mplframe.feedback.cosine import Cosine as Cosine
    from mplframe.feedback.dot import Dot as Dot
    from mplframe.feedback.exact import Exact as Exact
    from mplframe.feedback.off import Off as Off
    from mplframe.feedback.per_example import PerExample as PerExample
    from mplframe.feedback.taylor import Taylor as Taylor
    from mplframe.hooks import hookimpl as hookimpl
    from mplframe.losses.supervised import LabelSmoothing as LabelSmoothing
    from mplframe.losses.supervised import Supervised as Supervised
    from mplframe.losses.uda import UDA as UDA
    from mplframe.methods.mpl import MPLStage as MPLStage
    from mplframe.training.labeling import Labeling as Labeling
    from mplframe.training.learner import Learner as Learner
    from mplframe.training.student import NetworkStudent as NetworkStudent
    from mplframe.training.teacher import NetworkTeacher as NetworkTeacher

_NAMES = {
    "Baseline": "mplframe.feedback.baseline",
    "Batch": "mplframe.contracts.batch",
    "Cosine": "mplframe.feedback.cosine",
    "Dot": "mplframe.feedback.dot",
    "Exact": "mplframe.feedback.exact",
    "LabelSmoothing": "mplframe.losses.supervised",
    "Labeling": "mplframe.training.labeling",
    "Learner": "mplframe.training.learner",
    "MPLStage": "mplframe.methods.mpl",
    "NetworkStudent": "mplframe.training.student",
    "NetworkTeacher": "mplframe.training.teacher",
    "Off": "mplframe.feedback.off",
    "PerExample": "mplframe.feedback.per_example",
    "Samples": "mplframe.contracts.batch",
    "Supervised": "mplframe.losses.supervised",
    "Taylor": "mplframe.feedback.taylor",
    "UDA": "mplframe.losses.uda",
    "from_dict": "mplframe.api",
    "hookimpl": "mplframe.hooks",
    "load": "mplframe.api",
    "plan": "mplframe.api",
    "run": "mplframe.api",
}

__all__ = sorted(_NAMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'mplframe' has no attribute {name!r}")
    return getattr(import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_NAMES]
