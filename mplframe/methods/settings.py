"""Settings that methods share, and the learners made from them."""

from __future__ import annotations

from collections.abc import Set
from typing import Annotated

from pydantic import Field, PositiveInt, model_validator

from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.contracts.loss import View
from mplframe.contracts.method import PlannedNetwork, StageContext
from mplframe.errors import UserError
from mplframe.learners.learner import Learner
from mplframe.learners.network import freeze
from mplframe.optimizers.groups import parameter_groups

Decay = Annotated[float, Field(gt=0.0, lt=1.0)]


def check_divisible(accumulate: int, **sizes: int) -> None:
    """Refuse batches that can't be cut into `accumulate` equal micro-batches.

    Raises:
        ValueError: names the size.
    """
    for name, size in sizes.items():
        if size % accumulate:
            raise ValueError(f"{name} = {size} can't be cut into accumulate = {accumulate} equal micro-batches")


class TrainingConfig(BaseConfig):
    """How a network is trained.

    Attributes:
        optimizer: its optimizer.
        schedule: of the learning rate.
        clip: greatest norm of the gradient; null for no limit.
        ema: decay of the weights' moving average per step; null keeps none.
        freeze: patterns of names of parameters that stay as they are, such as `body.blocks.0.*`; batch statistics of
            layers that are frozen whole stay too.
    """

    optimizer: Annotated[ComponentConfig, Kind("optimizer")] = Field(
        default_factory=lambda: ComponentConfig(name="sgd")
    )
    schedule: Annotated[ComponentConfig, Kind("schedule")] = Field(
        default_factory=lambda: ComponentConfig(name="cosine")
    )
    clip: Annotated[float, Field(gt=0)] | None = None
    ema: Decay | None = None
    freeze: tuple[str, ...] = ()


class LearnerConfig(TrainingConfig):
    """One network and how it is trained.

    Attributes:
        network: its architecture.
    """

    network: Annotated[ComponentConfig, Kind("architecture")]

    def planned(self, role: str, *, distributions: bool = False) -> PlannedNetwork:
        """What `mplframe plan` is told."""
        averaged = self.ema is not None
        return PlannedNetwork(role, self.network, self.optimizer, averaged, self.schedule, distributions, self.freeze)


class BatchConfig(BaseConfig):
    """Samples of one step.

    Attributes:
        labeled: from the labeled stream.
        unlabeled: from the unlabeled stream.
        accumulate: micro-batches that the step is cut into, so that large batches fit on small machines. BatchNorm then
            sees one micro-batch at a time.
    """

    labeled: PositiveInt = 64
    unlabeled: PositiveInt = 64
    accumulate: PositiveInt = 1

    @model_validator(mode="after")
    def _divisible(self) -> BatchConfig:
        check_divisible(self.accumulate, labeled=self.labeled, unlabeled=self.unlabeled)
        return self


def check_average(views: Set[View], config: TrainingConfig) -> None:
    """Refuse losses that compare with an average of the weights where none is kept.

    Raises:
        UserError: says what to set.
    """
    if "weak_averaged" in views and config.ema is None:
        raise UserError("a loss compares with the average of the weights, but none is kept; set `ema`, such as 0.99")


def make_learner(
    context: StageContext, config: LearnerConfig, role: str, steps: int, *, distributions: bool = False
) -> Learner:
    """A freshly initialised network with its optimizer.

    Args:
        context: of the stage.
        config: its settings.
        role: such as `teacher`; the initial weights depend on it and on the seed.
        steps: how many there will be.
        distributions: whether the network takes probabilities instead of images.
    """
    module = context.network(config.network, role, distributions=distributions)
    freeze(module, config.freeze)
    factory = context.make("optimizer", config.optimizer)
    groups = parameter_groups(module, factory.config.weight_decay, decay_all=factory.config.decay_all)
    optimizer = factory.build(groups)
    return Learner(
        module,
        optimizer,
        backend=context.backend,
        lookahead=context.lookahead(optimizer),
        schedule=context.make("schedule", config.schedule),
        steps=steps,
        clip=config.clip,
        ema=config.ema,
    )
