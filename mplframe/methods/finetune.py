"""The last stage of methods whose student learns from pseudo labels: finetuning on labels (MPL v4, section 3.2)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt, model_validator

from mplframe.config.base import ComponentConfig, Kind
from mplframe.contracts.method import Make, StagePlan
from mplframe.methods.classifier import BatchSizes, classifier_plan
from mplframe.methods.settings import LearnerConfig, TrainingConfig, check_divisible, make_objective


class FinetuneConfig(TrainingConfig):
    """Finetuning of the student on labeled samples (MPL v4, section 3.2: SGD, learning rate 1e-5, 1,000 steps of 512).

    Attributes:
        steps: how many.
        batch: labeled samples of a step.
        accumulate: micro-batches that a step is cut into.
        losses: what it is finetuned on.
    """

    steps: PositiveInt = 1000
    batch: PositiveInt = 512
    accumulate: PositiveInt = 1
    schedule: Annotated[ComponentConfig, Kind("schedule")] = ComponentConfig(name="constant")
    losses: Annotated[tuple[ComponentConfig, ...], Kind("loss"), Field(min_length=1)] = (
        ComponentConfig(name="supervised"),
    )

    @model_validator(mode="after")
    def _divisible(self) -> FinetuneConfig:
        check_divisible(self.accumulate, batch=self.batch)
        return self


def finetune_plan(
    config: FinetuneConfig,
    network: ComponentConfig,
    make: Make,
    *,
    role: str = "student",
    name: str = "finetune",
    size: int | None = None,
) -> StagePlan:
    """The plan of the stage.

    Args:
        config: its settings.
        network: the student's architecture.
        make: gives the live component behind a config.
        role: of the network, under which an earlier stage left its weights.
        name: of the stage.
        size: height and width of the images; None for the run's own.
    """
    training = {name: getattr(config, name) for name in TrainingConfig.model_fields}
    return classifier_plan(
        name,
        role,
        LearnerConfig(network=network, **training),
        make_objective(make, config.losses),
        steps=config.steps,
        sizes=BatchSizes(config.batch, accumulate=config.accumulate),
        size=size,
        start_from=role,
    )
