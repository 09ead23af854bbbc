"""Settings that methods share, and the learners made from them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt, model_validator

from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.contracts.method import PlannedNetwork, StageContext
from mplframe.learners.learner import Learner
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
    """

    optimizer: Annotated[ComponentConfig, Kind("optimizer")] = Field(
        default_factory=lambda: ComponentConfig(name="sgd")
    )
    schedule: Annotated[ComponentConfig, Kind("schedule")] = Field(
        default_factory=lambda: ComponentConfig(name="cosine")
    )
    clip: Annotated[float, Field(gt=0)] | None = None
    ema: Decay | None = None


class LearnerConfig(TrainingConfig):
    """One network and how it is trained.

    Attributes:
        network: its architecture.
    """

    network: Annotated[ComponentConfig, Kind("architecture")]

    def planned(self, role: str) -> PlannedNetwork:
        """What `mplframe plan` is told."""
        return PlannedNetwork(role, self.network, self.optimizer, self.ema is not None, self.schedule)


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


def make_learner(context: StageContext, config: LearnerConfig, role: str, steps: int) -> Learner:
    """A freshly initialised network with its optimizer.

    Args:
        context: of the stage.
        config: its settings.
        role: such as `teacher`; the initial weights depend on it and on the seed.
        steps: how many there will be.
    """
    module = context.network(config.network, role)
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
