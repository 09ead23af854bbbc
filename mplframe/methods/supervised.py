"""Baselines of one stage: supervised learning, and Unsupervised Data Augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, final

from pydantic import Field, PositiveInt, model_validator

from mplframe.config.base import ComponentConfig, Kind
from mplframe.contracts.method import Make, Method, StagePlan
from mplframe.methods.classifier import BatchSizes, classifier_plan
from mplframe.methods.settings import BatchConfig, LearnerConfig, check_divisible, make_objective


@final
class SupervisedLearning(Method):
    """One stage, one network, labeled samples."""

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            steps: of the stage.
            batch: labeled samples of a step.
            accumulate: micro-batches that a step is cut into.
            student: the network and its training.
            losses: `supervised` or `label_smoothing`; with `view: labeled_strong` on strongly augmented images.
        """

        name: Literal["supervised"] = "supervised"
        steps: PositiveInt
        batch: PositiveInt = 64
        accumulate: PositiveInt = 1
        student: LearnerConfig
        losses: Annotated[tuple[ComponentConfig, ...], Kind("loss"), Field(min_length=1)] = (
            ComponentConfig(name="supervised"),
        )

        @model_validator(mode="after")
        def _divisible(self) -> SupervisedLearning.Config:
            check_divisible(self.accumulate, batch=self.batch)
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def stages(self, make: Make) -> Sequence[StagePlan]:
        c = self.config
        objective = make_objective(make, c.losses)
        sizes = BatchSizes(c.batch, accumulate=c.accumulate)
        return [classifier_plan("supervised", "student", c.student, objective, steps=c.steps, sizes=sizes)]


@final
class UnsupervisedDataAugmentation(Method):
    """One stage: the MPL teacher without a student (MPL v4, section 3.2 and table 7)."""

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            steps: of the stage.
            batch: samples of a step; the papers keep both streams equal (MPL v4, C.4).
            student: the network and its training.
            losses: the supervised and the consistency term.
        """

        name: Literal["uda"] = "uda"
        steps: PositiveInt
        batch: BatchConfig = BatchConfig()
        student: LearnerConfig
        losses: Annotated[tuple[ComponentConfig, ...], Kind("loss"), Field(min_length=1)] = (
            ComponentConfig(name="supervised"),
            ComponentConfig(name="uda"),
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def stages(self, make: Make) -> Sequence[StagePlan]:
        c = self.config
        objective = make_objective(make, c.losses)
        sizes = BatchSizes(**c.batch.model_dump())
        return [classifier_plan("uda", "student", c.student, objective, steps=c.steps, sizes=sizes)]
