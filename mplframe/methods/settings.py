"""Settings that methods share, and the learners made from them."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Annotated

from pydantic import Field, PositiveInt, model_validator

from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.contracts.loss import View
from mplframe.contracts.method import Make, PlannedNetwork, StageContext
from mplframe.errors import UserError
from mplframe.optim.groups import parameter_groups
from mplframe.training.learner import Learner
from mplframe.training.network import freeze
from mplframe.training.objective import Objective

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
        lr_per: samples of a step that the optimizer's `lr` is for: `lr: 0.1, lr_per: 256` gives steps of 1,536 samples
            a peak of 0.6 (the linear scaling rule; Goyal et al., 2017, section 2.1). What counts are the labeled
            samples of a step where the network learns from labels (Noisy Student, section 3.1, counts so), and else the
            unlabeled ones, as for the students of Meta Pseudo Labels and the pre-training of Billion-scale. Neither
            `accumulate` nor the number of processes changes it. Null: `lr` is taken as it is.
        schedule: of the learning rate.
        clip: greatest norm of the gradient; null for no limit.
        ema: decay of the weights' moving average per step; null keeps none.
        ema_warmup: let the decay of step t be at most (1 + t) / (10 + t), so that the average soon forgets its random
            start; the papers' presets keep a constant decay.
        freeze: patterns of names of parameters that stay as they are, such as `body.blocks.0.*`; batch statistics of
            layers that are frozen whole stay too.
    """

    optimizer: Annotated[ComponentConfig, Kind("optimizer")] = Field(
        default_factory=lambda: ComponentConfig(name="sgd")
    )
    lr_per: PositiveInt | None = None
    schedule: Annotated[ComponentConfig, Kind("schedule")] = Field(
        default_factory=lambda: ComponentConfig(name="cosine")
    )
    clip: Annotated[float, Field(gt=0)] | None = None
    ema: Decay | None = None
    ema_warmup: bool = True
    freeze: tuple[str, ...] = ()

    def lr_scale(self, batch: int) -> float:
        """What the optimizer's `lr` is multiplied by in steps that learn from so many samples."""
        return 1.0 if self.lr_per is None else batch / self.lr_per


class LearnerConfig(TrainingConfig):
    """One network and how it is trained.

    Attributes:
        network: its architecture.
    """

    network: Annotated[ComponentConfig, Kind("architecture")]

    def planned(self, role: str, *, batch: int, distributions: bool = False, size: int | None = None) -> PlannedNetwork:
        """What `mplframe plan` is told; the arguments are those of `make_learner`."""
        return PlannedNetwork(
            role,
            self.network,
            self.optimizer,
            lr_scale=self.lr_scale(batch),
            ema=self.ema is not None,
            schedule=self.schedule,
            distributions=distributions,
            freeze=self.freeze,
            size=size,
        )


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


def make_objective(make: Make, losses: Iterable[ComponentConfig], *, pooled: bool = False) -> Objective:
    """What a network is trained on.

    Args:
        make: gives the live component behind a config.
        losses: settings of the losses.
        pooled: see `Objective`.
    """
    return Objective.of([make("loss", loss) for loss in losses], pooled=pooled)


def make_learner(
    context: StageContext,
    config: LearnerConfig,
    role: str,
    steps: int,
    *,
    batch: int,
    distributions: bool = False,
    size: int | None = None,
) -> Learner:
    """A network with its optimizer.

    Args:
        context: of the stage.
        config: its settings.
        role: such as `teacher`; the initial weights depend on it and on the seed.
        steps: how many there will be.
        batch: samples of a step that it learns from; see `TrainingConfig.lr_per`.
        distributions: whether the network takes probabilities instead of images.
        size: height and width of the images that it is built for; the run's own by default.
    """
    module = context.network(config.network, role, distributions=distributions, size=size)
    freeze(module, config.freeze)
    factory = context.make("optimizer", config.optimizer)
    groups = parameter_groups(module, factory.config.weight_decay, decay_all=factory.config.decay_all)
    optimizer = factory.build(groups)
    for group in optimizer.param_groups:
        group["lr"] *= config.lr_scale(batch)
    return Learner(
        module,
        optimizer,
        backend=context.backend,
        lookahead=context.lookahead(optimizer),
        schedule=context.make("schedule", config.schedule),
        steps=steps,
        clip=config.clip,
        ema=config.ema,
        ema_warmup=config.ema_warmup,
    )
