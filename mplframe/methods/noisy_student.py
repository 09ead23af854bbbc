"""Noisy Student (algorithm 1): teach, label, select, learn with noise; then the student teaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal, final

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.contracts.loss import View
from mplframe.contracts.method import Make, Method, Plan, PlannedNetwork, StagePlan
from mplframe.losses.assigned import Assigned
from mplframe.losses.supervised import Supervised
from mplframe.methods.classifier import BatchSizes, FinetuneConfig, classifier_plan, finetune_plan, teacher_plan
from mplframe.methods.labeling import PseudoLabelingConfig, check_taught, labeling_plans
from mplframe.methods.settings import BatchConfig, LearnerConfig, make_objective
from mplframe.selection.config import SelectionConfig

UNLABELED: frozenset[View] = frozenset({"weak", "strong"})


class NoiseConfig(BaseConfig):
    """What is noised when the student learns from unlabeled images (Noisy Student, table 6).

    Attributes:
        augmentation: their views are augmented.
        model: dropout and stochastic depth are on for them.
    """

    augmentation: bool = True
    model: bool = True


class TaughtConfig(LearnerConfig):
    """A network of one round.

    Attributes:
        steps: of its training.
        warm_start: begin with the weights of the network that labels for it (Noisy Student, appendix A.3, study 6).
        ratio: unlabeled samples of a step to each labeled one (section 3.1: 14, in the last round 28); null for those
            of `batch`.
        size: height and width of its images, in training and evaluation; null for the run's own.
    """

    steps: PositiveInt
    warm_start: bool = False
    ratio: PositiveInt | None = None
    size: PositiveInt | None = None


class TeacherConfig(LearnerConfig):
    """The first teacher.

    Attributes:
        steps: of its training on labels; 0 for one that has learned before.
        size: height and width of its images, in training and evaluation; null for the run's own.
    """

    steps: NonNegativeInt
    size: PositiveInt | None = None


class FixResConfig(FinetuneConfig):
    """Finetuning on unaugmented labeled images of another size, the shallow layers frozen (Noisy Student, section 3.1).

    Attributes:
        size: height and width of the images, in pixels; of the evaluation too.
    """

    size: PositiveInt


@final
class NoisyStudent(Method):
    """Stages `teacher`, then for each round the tasks `label` and `select` and the stage `student`; `fixres` at the end
    where it is configured. Rounds but the last have their number in every name."""

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            batch: samples of a step; `unlabeled` is the paper's ratio times `labeled`.
            teacher: the first one, trained on labels; null where `pseudo_labels.manifest` has its labels.
            rounds: the students, each of which teaches the next one.
            losses: of labeled images, for teacher and students.
            assigned: the loss of unlabeled images.
            average: `concatenated` takes the mean over labeled and unlabeled samples together (section 3.1), `separate`
                adds the two means (algorithm 1).
            pseudo_labels: how images are labeled and selected.
            noise: of unlabeled images.
            fixres: of the last student; null for none.
        """

        name: Literal["noisy_student"] = "noisy_student"
        batch: BatchConfig = BatchConfig()
        teacher: TeacherConfig | None = None
        rounds: Annotated[tuple[TaughtConfig, ...], Field(min_length=1)]
        losses: Annotated[tuple[ComponentConfig, ...], Kind("loss"), Field(min_length=1)] = (
            Supervised.Config(view="labeled_strong"),
        )
        assigned: Annotated[ComponentConfig, Kind("loss")] = Assigned.Config()
        average: Literal["concatenated", "separate"] = "concatenated"
        pseudo_labels: PseudoLabelingConfig = PseudoLabelingConfig(select=SelectionConfig(threshold=0.3))
        noise: NoiseConfig = NoiseConfig()
        fixres: FixResConfig | None = None

        @model_validator(mode="after")
        def _taught(self) -> NoisyStudent.Config:
            check_taught(self.pseudo_labels, self.teacher)
            if self.teacher is None and self.rounds[0].warm_start:
                raise ValueError("there is no teacher for rounds.0 to begin with; set its warm_start to false")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def stages(self, make: Make) -> Sequence[Plan]:
        c = self.config
        plans: list[Plan] = []
        teacher = None
        if c.teacher is not None:
            plans.append(self._teacher(c.teacher, make))
            teacher = PlannedNetwork("teacher", c.teacher.network, optimizer=None, size=c.teacher.size)
        for number, student in enumerate(c.rounds, start=1):
            suffix = "" if number == len(c.rounds) else f"_{number}"
            plans += labeling_plans(c.pseudo_labels, teacher, suffix=suffix)
            plans.append(self._student(student, teacher, suffix, make))
            teacher = PlannedNetwork(f"student{suffix}", student.network, optimizer=None, size=student.size)
        if c.fixres is not None:
            plans.append(self._fixres(c.fixres, make))
        return plans

    def _teacher(self, config: TeacherConfig, make: Make) -> Plan:
        batch = self.config.batch
        return teacher_plan(
            "teacher",
            config,
            make_objective(make, self.config.losses),
            steps=config.steps,
            sizes=BatchSizes(batch.labeled, accumulate=batch.accumulate),
            size=config.size,
        )

    def _student(self, config: TaughtConfig, teacher: PlannedNetwork | None, suffix: str, make: Make) -> StagePlan:
        c = self.config
        unlabeled = c.batch.unlabeled if config.ratio is None else config.ratio * c.batch.labeled
        plan = classifier_plan(
            f"student{suffix}",
            f"student{suffix}",
            config,
            make_objective(make, [*c.losses, c.assigned], pooled=c.average == "concatenated"),
            steps=config.steps,
            sizes=BatchSizes(c.batch.labeled, unlabeled, c.batch.accumulate),
            size=config.size,
            start_from=teacher.role if teacher is not None and config.warm_start else None,
            still=frozenset() if c.noise.model else UNLABELED,
        )
        streams = replace(plan.streams, assigned=f"selected{suffix}")
        if not c.noise.augmentation:
            streams = replace(streams, augmented=frozenset({"labeled"}))
        return replace(plan, streams=streams)

    def _fixres(self, config: FixResConfig, make: Make) -> StagePlan:
        student = self.config.rounds[-1]
        plan = finetune_plan(config, student.network, make, name="fixres", size=student.size)
        return replace(plan, streams=replace(plan.streams, size=config.size, augmented=frozenset()))
