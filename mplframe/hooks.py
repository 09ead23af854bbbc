"""The hooks that plugins implement: one for each kind of component, all of one shape.

A plugin is any module or object with functions marked `@mplframe.hookimpl`, named by an entry point of the group
`mplframe`. Each hook returns names and what they lead to, either a class or `"package.module:Class"`, which is
imported when the name is first used. Hooks register; nothing of pluggy is called during training.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pluggy

PROJECT = "mplframe"
Components = Mapping[str, type | str]

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True)
class KindOfComponent:
    """A kind: its word in configs, and the contract that its components extend."""

    kind: str
    contract: str

    @property
    def hook(self) -> str:
        """The hook that registers components of this kind."""
        return f"mplframe_{self.kind}"


KINDS = (
    KindOfComponent("architecture", "mplframe.contracts.architecture:Architecture"),
    KindOfComponent("augmentation", "mplframe.contracts.data:Augmentation"),
    KindOfComponent("backend", "mplframe.contracts.backend:Backend"),
    KindOfComponent("dataset", "mplframe.contracts.data:DatasetSource"),
    KindOfComponent("evaluator", "mplframe.contracts.watching:Evaluator"),
    KindOfComponent("feedback", "mplframe.contracts.feedback:FeedbackEstimator"),
    KindOfComponent("lookahead", "mplframe.contracts.optimizer:Lookahead"),
    KindOfComponent("loss", "mplframe.contracts.loss:AuxLoss"),
    KindOfComponent("method", "mplframe.contracts.method:Method"),
    KindOfComponent("optimizer", "mplframe.contracts.optimizer:OptimizerFactory"),
    KindOfComponent("schedule", "mplframe.contracts.optimizer:Schedule"),
    KindOfComponent("tracker", "mplframe.contracts.watching:Tracker"),
)


class Specs:
    """What a plugin may implement."""

    @hookspec
    def mplframe_architecture(self) -> Components:  # type: ignore[empty-body]
        """Networks: `mplframe.contracts.architecture.Architecture`."""

    @hookspec
    def mplframe_augmentation(self) -> Components:  # type: ignore[empty-body]
        """Random changes of image batches: `mplframe.contracts.data.Augmentation`."""

    @hookspec
    def mplframe_backend(self) -> Components:  # type: ignore[empty-body]
        """Hardware and parallelism: `mplframe.contracts.backend.Backend`."""

    @hookspec
    def mplframe_dataset(self) -> Components:  # type: ignore[empty-body]
        """Where samples come from: `mplframe.contracts.data.DatasetSource`."""

    @hookspec
    def mplframe_evaluator(self) -> Components:  # type: ignore[empty-body]
        """What judges a network: `mplframe.contracts.watching.Evaluator`."""

    @hookspec
    def mplframe_feedback(self) -> Components:  # type: ignore[empty-body]
        """Estimators of the student's feedback: `mplframe.contracts.feedback.FeedbackEstimator`."""

    @hookspec
    def mplframe_lookahead(self) -> Components:  # type: ignore[empty-body]
        """Optimizer steps as functions of the gradient: `mplframe.contracts.optimizer.Lookahead`."""

    @hookspec
    def mplframe_loss(self) -> Components:  # type: ignore[empty-body]
        """Auxiliary losses: `mplframe.contracts.loss.AuxLoss`."""

    @hookspec
    def mplframe_method(self) -> Components:  # type: ignore[empty-body]
        """Plans of stages: `mplframe.contracts.method.Method`."""

    @hookspec
    def mplframe_optimizer(self) -> Components:  # type: ignore[empty-body]
        """Optimizers: `mplframe.contracts.optimizer.OptimizerFactory`."""

    @hookspec
    def mplframe_schedule(self) -> Components:  # type: ignore[empty-body]
        """Learning rates over steps: `mplframe.contracts.optimizer.Schedule`."""

    @hookspec
    def mplframe_tracker(self) -> Components:  # type: ignore[empty-body]
        """Where metrics go: `mplframe.contracts.watching.Tracker`."""
